"""Reads orientation and colour space from EXIF."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edgeapl.sources.formats.colour import ADOBE_GAMMA, ADOBE_RGB, profile_of

_ORIENTATION = 274
_EXIF, _INTEROP = 0x8769, 0xA005
_COLOUR_SPACE = 0xA001
_ADOBE_BY_HABIT = 2
_UNCALIBRATED = 0xFFFF


@dataclass(frozen=True, slots=True)
class Exif:
    """orientation : 1 to 8, 1 is upright. icc : colour profile; empty if not stated."""

    orientation: int = 1
    icc: bytes = b""


def read_exif(block: bytes) -> Exif:
    """Read an EXIF block, which begins with a TIFF header; an unreadable one states nothing.

    Pixels are examined as stored whatever the orientation, so a broken block does no harm.
    """
    from PIL import Image  # noqa: PLC0415

    exif = Image.Exif()
    try:
        exif.load(block)
        orientation = exif.get(_ORIENTATION, 1)
        more = exif.get_ifd(_EXIF)
        space = more.get(_COLOUR_SPACE)
        index = exif.get_ifd(_INTEROP).get(1) if _INTEROP in more else None
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return Exif()
    adobe = space == _ADOBE_BY_HABIT or (space == _UNCALIBRATED and index in ("R03", b"R03\0"))
    turned = orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
    return Exif(turned, profile_of(ADOBE_RGB, ADOBE_GAMMA, "Adobe RGB (1998)") if adobe else b"")
