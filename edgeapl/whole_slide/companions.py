"""The files that belong to a scan of several: what is in them is part of the scan."""

from __future__ import annotations

import re
from pathlib import Path

from edgeapl.whole_slide.dicom_series import series_of

MOST_BYTES = 1 << 20
"""Of a list of files; longer ones are none."""

SET = ".ndpis"
"""A list of scans of one slide, by Hamamatsu: one for each channel of fluorescence."""


def companion_files(scan: Path) -> tuple[Path, ...]:
    """Return the other files of a scan, by name; none where it is a single file.

    MRXS has its pictures in the folder beside it that has its name, VMS, VMU and NDPIS name their
    files, and a DICOM series has one file or more for each level.
    Raises OSError when they cannot be read.
    """
    suffix = scan.suffix.lower()
    if suffix == ".mrxs":
        found = iter(scan.with_suffix("").rglob("*"))
    elif suffix in (".vms", ".vmu", SET):
        found = (scan.parent / name for name in _named_in(scan))
    elif suffix == ".dcm" and (series := series_of(scan)):
        beside = (file for file in scan.parent.iterdir() if file.suffix.lower() == ".dcm")
        found = (file for file in beside if series_of(file) == series)
    else:
        return ()
    return tuple(sorted({file for file in found if file.is_file() and file != scan}))


def scans_of_set(file: Path) -> tuple[str, ...]:
    """Return the names of the scans that an NDPIS file lists, in its order. Raises OSError."""
    return tuple(name for key, name in _entries(file) if re.fullmatch(r"Image\d+", key))


def _named_in(index: Path) -> tuple[str, ...]:
    """Return the values of an index file that are names of files beside it."""
    return tuple(value for _, value in _entries(index) if value and Path(value).name == value)


def _entries(index: Path) -> list[tuple[str, str]]:
    if index.stat().st_size > MOST_BYTES:
        return []
    lines = index.read_text("utf-8", "replace").splitlines()
    parts = [line.partition("=") for line in lines]
    return [(key.strip(), value.strip()) for key, _, value in parts]
