"""Checks a BMP: uncompressed, and as long as its header says."""

from __future__ import annotations

import struct

from edgeapl.sources.formats.header import ImageHeader, cut_off, damaged, grey, unsupported

SIGNATURE = b"BM"

_PLAIN = 0
_BITFIELDS = 3
_USUAL_MASKS = (0xFF0000, 0xFF00, 0xFF)
_HEADER_SIZES = {40, 52, 56, 108, 124}


def read_header(data: bytes, name: str) -> ImageHeader:
    """Check a BMP file, and return its header. Raises InputError."""
    if len(data) < 54:
        raise cut_off(name, "BMP ends inside its header")
    start, size, width, height, planes, bits, packing = struct.unpack("<IIiiHHI", data[10:34])
    if size not in _HEADER_SIZES:
        raise unsupported(name, f"as BMP with a header of {size} bytes")
    if width <= 0 or height in (0, -(2**31)) or planes != 1:
        raise damaged(name, "BMP header")
    alpha = packing == _BITFIELDS and bits == 32 and _alpha_mask(data, size, name)
    if (packing != _PLAIN and bits != 32) or packing not in (_PLAIN, _BITFIELDS):
        raise unsupported(name, "as compressed BMP")
    if bits not in (1, 4, 8, 24, 32):
        raise unsupported(name, f"as BMP with {bits} bits per pixel")
    if bits <= 8 and _grey_palette(data, size, bits):
        raise grey(name)
    row_bytes = (width * bits + 31) // 32 * 4
    if start + row_bytes * abs(height) > len(data):
        raise cut_off(name, "BMP ends inside its pixels")
    return ImageHeader("BMP", width, abs(height), alpha=alpha, icc=_profile(data, size))


def _profile(data: bytes, size: int) -> bytes:
    """Return the embedded colour profile that a version 5 header may have."""
    if size < 124 or data[70:74] != b"DEBM":  # MBED, little-endian
        return b""
    start, length = struct.unpack("<II", data[126:134])
    return data[14 + start : 14 + start + length]


def _alpha_mask(data: bytes, size: int, name: str) -> bool:
    if len(data) < 70:
        raise cut_off(name, "BMP ends inside its header")
    if struct.unpack("<III", data[54:66]) != _USUAL_MASKS:
        raise unsupported(name, "as BMP with unusual colour masks")
    return size >= 56 and data[66:70] != b"\0\0\0\0"


def _grey_palette(data: bytes, size: int, bits: int) -> bool:
    used = struct.unpack("<I", data[46:50])[0] or 1 << bits
    palette = data[14 + size : 14 + size + 4 * min(used, 256)]
    return palette[0::4] == palette[1::4] == palette[2::4]
