"""Scans of whole slides, told from ordinary images: they are not read as such.

A scan holds pictures of its label and of the whole glass, on which names of patients stand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeapl.errors import InputError

if TYPE_CHECKING:
    from tifffile import TiffPage

SLIDES_EXTRA = "pip install 'edgeapl[slides]'"

NDPI_MARK = 65420
"""Tag of Hamamatsu's files."""

_SOFTWARE, _XMP = 305, 700
_FIRST_PAGES = 3
_OTHER_PICTURE = re.compile(r"\b(label|macro|thumbnail|overview)\b", re.IGNORECASE)


def is_other_picture(about: str) -> bool:
    """Whether a picture's description or name says that it is a label, or the whole glass."""
    return _OTHER_PICTURE.search(about[:4096]) is not None


def scan_refused(kind: str, name: str) -> InputError:
    """Return the error for a scan among ordinary images."""
    mend = f"give it as a slide of its own; reading it takes {SLIDES_EXTRA}"
    return InputError(f"a scan of a whole slide ({kind})", name, mend)


def refuse_preview(path: Path, name: str) -> None:
    """Raise InputError for the MRXS file itself, a JPEG that may show the glass and its label."""
    if path.suffix.lower() == ".mrxs":
        raise scan_refused("MRXS, with the folder beside it", name)


def scanner_of(pages: Sequence[TiffPage], about: str) -> str:
    """Return whose scan a TIFF is; empty where it is none, or an image cut out of one.

    about : the description of its first page.
    """
    first = pages[0]
    if NDPI_MARK in first.tags:
        return "NDPI"
    if "leica-microsystems.com/scn/" in about[:4096]:
        return "Leica"
    if any(b"<iScan" in _bytes_of(page, _XMP) for page in pages[:_FIRST_PAGES]):
        return "Ventana"
    if not first.is_tiled:
        return ""
    if about.startswith("Aperio"):
        return "Aperio"
    software = _bytes_of(first, _SOFTWARE)
    return next((n for n in ("Philips", "MedScan") if software.startswith(n.encode())), "")


def _bytes_of(page: TiffPage, tag: int) -> bytes:
    value = page.tags.valueof(tag)
    return value.encode("utf-8", "replace") if isinstance(value, str) else _plain(value)


def _plain(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""
