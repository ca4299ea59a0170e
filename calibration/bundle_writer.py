"""Writes the next version of a bundle, with the measurements in it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.bundle.write import write_bundle
from edgeapl.calibration import document, fingerprint, ranges
from edgeapl.calibration.replacement import replace_folder
from edgeapl.calibration.versions import next_version


def write_calibrated(bundle: Bundle, facts: document.CalibrationResult, target: Path) -> Bundle:
    """Write ranges, set and fingerprint beside the bundle's own files.

    Networks and golden answers are copied unchanged. Without a new fingerprint the old one stays. A
    certificate does not: it holds only for the look and the limits that it was earned with.

    Parameters
    ----------
    bundle : the measured one. facts : the results. target : new folder, or a bundle that is
        replaced once the new one is complete.
    """
    manifest = bundle.manifest
    settings = manifest.model_dump(
        mode="json", exclude={"schema_version", "files", "certificate"}, exclude_none=True
    )
    settings["version"] = next_version(manifest.version)
    settings["calibration"] = {"ranges": ranges.FILE, "images": document.FILE}
    files: dict[str, bytes | Path] = {name: bundle.folder / name for name in manifest.files}
    if manifest.certificate is not None:
        del files[manifest.certificate.evidence], files[manifest.certificate.look]
    files[ranges.FILE] = ranges.ranges_json(facts.measured)
    files[document.FILE] = document.set_json(facts)
    if facts.fingerprint.data is not None:
        if manifest.domain is not None:
            del files[manifest.domain.file]
        settings["domain"] = {"file": fingerprint.FILE}
        files[fingerprint.FILE] = facts.fingerprint.data
    if facts.fingerprint.min_focus is not None and not facts.crops:
        # Never below what the bundle already requires.
        least = max(manifest.gate.min_focus, facts.fingerprint.min_focus)
        settings["gate"] = {**settings["gate"], "min_focus": least}
    if facts.fingerprint.min_detail is not None:
        settings["gate"] = {**settings["gate"], "min_detail": facts.fingerprint.min_detail}
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
        made = write_bundle(Path(folder) / "bundle", settings, files)
        replace_folder(made.folder, target)
    return open_bundle(target)
