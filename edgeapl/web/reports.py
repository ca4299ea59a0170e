"""Reads the reports of closed slides, and nothing else from the disk."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from edgeapl.errors import InputError, StorageError, UsageError
from edgeapl.station.access import StationAccess

REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Reports contain their style and pictures; scripts are forbidden in them."""
OVERLAYS = "overlays"

_RECORD = re.compile(r"[0-9a-f]{8,128}", re.ASCII)
_OVERLAY = re.compile(r"[^/\\\x00]{1,200}\.png")


def report_file(station: StationAccess, record: str, overlay: str) -> tuple[bytes, str]:
    """Read a report, or one of the frames that it links to.

    Parameters
    ----------
    record : hash of the slide's row in the journal; only reports of records are read.
    overlay : name of a file in the report's folder ``overlays``; empty for the report itself.

    Returns the bytes and their media type. Raises InputError when there is none, StorageError when
    it cannot be read.
    """
    path = _named(station, record)
    kind = "text/html"
    if overlay:
        path, kind = path.parent / OVERLAYS / overlay, "image/png"
        # A link in the folder must not lead out of it.
        if _OVERLAY.fullmatch(overlay) is None or path.is_symlink():
            raise InputError("there is no such picture", "", "go back to the report")
    try:
        if not path.is_file():
            raise InputError("the file is not there any more", "", "look into the result folder")
        return path.read_bytes(), kind
    except OSError as error:
        raise StorageError("report cannot be read", "", str(error.strerror)) from error


def _named(station: StationAccess, record: str) -> Path:
    """Find the report that the station names for a record."""
    if _RECORD.fullmatch(record):
        with suppress(UsageError):
            report = station.report(record)
            if report is not None:
                return report
        slide = station.view().slide
        if slide is not None and slide.record == record and slide.report is not None:
            return slide.report
    raise InputError("there is no such report", "", "go back to the page")
