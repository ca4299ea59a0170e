"""Checks a PNG: every chunk with its checksum, to the end."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from edgeapl.errors import InputError
from edgeapl.sources.formats import png_colour
from edgeapl.sources.formats.exif import Exif, read_exif
from edgeapl.sources.formats.header import (
    ImageHeader,
    PixelSize,
    cut_off,
    damaged,
    grey,
    many,
    pixel_size,
    too_deep,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_PALETTE = 3
_COLOUR_TYPES = {0: "grey", 2: "RGB", _PALETTE: "palette", 4: "grey and alpha", 6: "RGB and alpha"}


def read_header(data: bytes, name: str) -> ImageHeader:
    """Check a PNG file, and return its header. Raises InputError."""
    chunks = _chunks(data, name)
    kind, body = next(chunks)
    if kind != b"IHDR" or len(body) != 13:
        raise damaged(name, "no PNG header")
    width, height, bits, colour, _, _, _ = struct.unpack(">IIBBBBB", body)
    if colour not in _COLOUR_TYPES:
        raise damaged(name, f"PNG colour type {colour}")
    found: dict[bytes, bytes] = {}
    for kind, body in chunks:
        if kind == b"IHDR":
            raise damaged(name, "two PNG headers")
        if kind == b"acTL" and len(body) == 8:
            raise many(name, struct.unpack(">I", body[:4])[0])
        found.setdefault(kind, b"" if kind == b"IDAT" else body)
    if b"IDAT" not in found:
        raise damaged(name, "no pixels")
    palette, opacity = found.get(b"PLTE", b""), found.get(b"tRNS", b"")
    if bits > 8:
        raise too_deep(name, bits)
    if colour in (0, 4) or (colour == _PALETTE and _is_grey(palette)):
        raise grey(name)
    if colour == 2 and opacity:
        raise InputError("image has a transparent colour", name, "save it without transparency")
    exif = read_exif(found[b"eXIf"]) if b"eXIf" in found else Exif()
    icc, remarks = png_colour.profile(found, exif)
    size = _size(found.get(b"pHYs", b""))
    alpha = colour == 6 or bool(opacity)
    turned = exif.orientation
    return ImageHeader("PNG", width, height, alpha, turned, size, remarks, icc)


def _chunks(data: bytes, name: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, body) up to the end chunk. Raises InputError when damaged or truncated."""
    at = len(SIGNATURE)
    while True:
        head = data[at : at + 8]
        if len(head) < 8:
            raise cut_off(name, "PNG end mark is missing")
        length, kind = struct.unpack(">I4s", head)
        end = at + 8 + length
        if end + 4 > len(data):
            raise cut_off(name, "PNG ends inside its data")
        body = data[at + 8 : end]
        if zlib.crc32(body, zlib.crc32(kind)) != struct.unpack(">I", data[end : end + 4])[0]:
            raise damaged(name, "PNG checksum is wrong")
        if kind == b"IEND":
            return
        yield kind, body
        at = end + 4


def _is_grey(palette: bytes) -> bool:
    return palette[0::3] == palette[1::3] == palette[2::3]


def _size(body: bytes) -> PixelSize:
    """Parse a pHYs chunk: pixels per metre."""
    if len(body) != 9 or body[8] != 1:
        return PixelSize()
    x_per_metre, y_per_metre = struct.unpack(">II", body[:8])
    if not x_per_metre or not y_per_metre:
        return PixelSize()
    return pixel_size(1e6 / x_per_metre, 1e6 / y_per_metre, "the resolution in the file")
