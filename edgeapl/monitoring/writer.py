"""Writes the monitoring page."""

from __future__ import annotations

from pathlib import Path

from edgeapl.errors import StorageError
from edgeapl.monitoring.monitor import MonitoringResult
from edgeapl.monitoring.page import monitor_page


def write_page(found: MonitoringResult, path: Path) -> None:
    """Write the page, replacing an existing one. Raises StorageError."""
    text = monitor_page(found)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or "unknown reason"
        mend = "choose another file with --out"
        raise StorageError(f"page cannot be written ({reason})", path, mend) from error
