"""What the export that made a bundle reported."""

from __future__ import annotations

import json

from edgeapl.bundle.load import Bundle
from edgeapl.errors import BundleError

EXPORT_REPORT = "export-report.json"


def export_warnings(bundle: Bundle) -> tuple[str, ...]:
    """Return the warnings of a bundle's export; none if it has no report.

    Raises BundleError when the report is malformed.
    """
    if EXPORT_REPORT not in bundle.manifest.files:
        return ()
    mend = "export the bundle again"
    try:
        report = json.loads(bundle.read(EXPORT_REPORT))
    except ValueError as error:
        raise BundleError("export report is not JSON", EXPORT_REPORT, mend) from error
    warnings = report.get("warnings", []) if isinstance(report, dict) else None
    if not isinstance(warnings, list):
        raise BundleError("export report is not understood", EXPORT_REPORT, mend)
    return tuple(str(warning) for warning in warnings)
