"""Reads JPEG XL: size and colours from its header (ISO/IEC 18181-1), pixels with libjxl."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgeapl.sources.formats.colour import ColourError, profile_of_codes
from edgeapl.sources.formats.header import (
    ImageHeader,
    Still,
    cut_off,
    damaged,
    grey,
    too_deep,
    unsupported,
)
from edgeapl.sources.formats.optional_formats import INCONSISTENT_FILE_ERRORS
from edgeapl.types import Remark, UInt8

_STREAM = b"\xff\x0a"
_BOXES = b"\0\0\0\x0cJXL \r\n\x87\n"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_SIZES = ((1, 9), (1, 13), (1, 18), (1, 30))
_ENUM = ((0, 0), (1, 0), (2, 4), (18, 6))
_GREY, _XYB = 1, 2
_D65 = 1
_P3 = 11
_ALPHA = 0


def is_jpeg_xl(data: bytes) -> bool:
    """Return whether a file begins like JPEG XL."""
    return data.startswith((_STREAM, _BOXES))


def read_jpeg_xl(data: bytes, name: str) -> Iterator[Still]:
    """Yield the picture of a JPEG XL. Raises InputError."""
    try:
        header = _header(_Bits(_code_stream(data)), name)
    except IndexError as error:
        raise cut_off(name, "JPEG XL ends inside its header") from error
    yield Still(header, partial(_pixels, data))


def _pixels(data: bytes, name: str) -> tuple[UInt8, tuple[Remark, ...]]:
    import imagecodecs  # noqa: PLC0415

    try:
        pixels = np.asarray(imagecodecs.jpegxl_decode(data))
    except INCONSISTENT_FILE_ERRORS as error:
        raise damaged(name, "JPEG XL cannot be decoded") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise damaged(name, "JPEG XL holds no 8-bit colour image")
    return pixels, ()


def _code_stream(data: bytes) -> bytes:
    """Return the beginning of the codestream, which may be inside boxes."""
    if data.startswith(_STREAM):
        return data[:4096]
    at = 0
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        start = at + 8
        if size == 1:
            size, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        if kind in (b"jxlc", b"jxlp"):
            start += 4 * (kind == b"jxlp")
            return data[start : start + 4096]
        if size < 8:
            break
        at += size
    raise IndexError


@dataclass(slots=True)
class _Bits:
    """Bits of a codestream, lowest of each byte first. Raises IndexError at the end."""

    data: bytes
    at: int = 16

    def take(self, count: int) -> int:
        value = 0
        for place in range(count):
            value |= (self.data[self.at >> 3] >> (self.at & 7) & 1) << place
            self.at += 1
        return value

    def choose(self, ways: tuple[tuple[int, int], ...]) -> int:
        """Read a two-bit selector of (offset, number of further bits), and return their sum."""
        base, count = ways[self.take(2)]
        return base + self.take(count)


def _header(bits: _Bits, name: str) -> ImageHeader:
    width, height = _size(bits)
    alpha = False
    icc: bytes = b""
    remarks: tuple[Remark, ...] = ()
    if not bits.take(1):  # otherwise all defaults hold: 8-bit sRGB
        if bits.take(1):
            turned = bits.take(3) + 1 > 4
            width, height = (height, width) if turned else (width, height)
            if bits.take(1):
                _size(bits)
            if bits.take(1) or bits.take(1):
                raise unsupported(name, "as JPEG XL with a preview or as a film")
        _check_depth(bits, name)
        bits.take(1)
        alpha = _has_alpha(bits, name)
        bits.take(1)
        icc, remarks = _colours(bits, name)
    return ImageHeader("JPEG XL", width, height, alpha, remarks=remarks, icc=icc, costly=True)


def _size(bits: _Bits) -> tuple[int, int]:
    eighths = bits.take(1)
    height = 8 * (1 + bits.take(5)) if eighths else bits.choose(_SIZES)
    ratio = bits.take(3)
    if ratio:
        over, under = _RATIOS[ratio]
        return height * over // under, height
    return (8 * (1 + bits.take(5)) if eighths else bits.choose(_SIZES)), height


def _check_depth(bits: _Bits, name: str) -> None:
    if bits.take(1):
        raise unsupported(name, "as floating-point numbers")
    depth = bits.choose(((8, 0), (10, 0), (12, 0), (1, 6)))
    if depth > 8:
        raise too_deep(name, depth)


def _has_alpha(bits: _Bits, name: str) -> bool:
    more = bits.choose(((0, 0), (1, 0), (2, 4), (1, 12)))
    if more == 1 and not bits.take(1):
        kind = bits.choose(_ENUM)
        _check_depth(bits, name)
        bits.choose(((0, 0), (3, 0), (4, 0), (1, 3)))
        letters = bits.choose(((0, 0), (0, 4), (16, 5), (48, 10)))
        bits.take(8 * letters + (kind == _ALPHA))
        more = 2 if kind != _ALPHA else 1
    if more > 1:
        raise unsupported(name, "as JPEG XL with further channels")
    return more == 1


def _colours(bits: _Bits, name: str) -> tuple[bytes, tuple[Remark, ...]]:
    if bits.take(1):
        return b"", ()
    embedded = bits.take(1)
    space = bits.choose(_ENUM)
    if space == _GREY:
        raise grey(name)
    try:
        if embedded or space == _XYB:
            raise ColourError("an embedded profile")
        if bits.choose(_ENUM) != _D65:
            raise ColourError("another white than D65")
        primaries = bits.choose(_ENUM)
        if bits.take(1):
            raise ColourError("a gamma of its own")
        transfer = bits.choose(_ENUM)
        return profile_of_codes(12 if primaries == _P3 else primaries, transfer), ()
    except ColourError as error:
        text = f"the JPEG XL's colours cannot be told ({error}); they were taken for sRGB"
        return b"", (Remark("colour", text, True),)
