"""Checks a JPEG: every segment, up to the end marker."""

from __future__ import annotations

import re
import struct

from edgeapl.sources.formats.exif import Exif, read_exif
from edgeapl.sources.formats.header import (
    ImageHeader,
    cut_off,
    damaged,
    grey,
    print_colours,
    too_deep,
    unsupported,
)

SIGNATURE = b"\xff\xd8\xff"

MOST_SCANS = 100
"""Scans of the whole image; progressive files have about ten, and each can take seconds."""

_EOI = 0xD9
_SOS = 0xDA
_APP1 = 0xE1
_APP2 = 0xE2
_ICC = b"ICC_PROFILE\0"
_READ = {0xC0, 0xC1, 0xC2}  # baseline, extended and progressive Huffman
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# Inside a scan FF is followed by 00 (a byte FF), a restart marker, or FF (fill).
_MARK = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)
_COLOURS = 3


def read_header(data: bytes, name: str) -> ImageHeader:
    """Check a JPEG file, and return its header. Raises InputError."""
    frame: tuple[int, int] | None = None
    exif = Exif()
    icc: dict[int, bytes] = {}
    scans = 0
    at = 2
    while True:
        mark, at = _next_mark(data, at, name)
        if mark == _EOI:
            break
        body, at = _segment(data, at, name)
        if mark in _FRAMES:
            if frame is not None:
                raise damaged(name, "two JPEG frames")
            frame = _frame(mark, body, name)
        elif mark == _APP1 and body.startswith(b"Exif\0\0"):
            exif = read_exif(body[6:])
        elif mark == _APP2 and body.startswith(_ICC) and len(body) > 14:
            icc.setdefault(body[12], body[14:])  # number of the segment, of how many, its part
        elif mark == _SOS:
            scans += 1
            if scans > MOST_SCANS:
                raise damaged(name, f"more than {MOST_SCANS} JPEG scans")
            at = _end_of_scan(data, at, name)
    if frame is None or not scans:
        raise damaged(name, "no pixels")
    width, height = frame
    profile = b"".join(icc[number] for number in sorted(icc)) or exif.icc
    return ImageHeader("JPEG", width, height, orientation=exif.orientation, icc=profile)


def _next_mark(data: bytes, at: int, name: str) -> tuple[int, int]:
    start = at
    while data[at : at + 1] == b"\xff":
        at += 1
    if at >= len(data):
        raise cut_off(name, "JPEG end mark is missing")
    if at == start:
        raise damaged(name, "no JPEG mark where one must be")
    return data[at], at + 1


def _segment(data: bytes, at: int, name: str) -> tuple[bytes, int]:
    if at + 2 > len(data):
        raise cut_off(name, "JPEG ends inside its header")
    length = struct.unpack(">H", data[at : at + 2])[0]
    if length < 2:
        raise damaged(name, "JPEG segment without length")
    if at + length > len(data):
        raise cut_off(name, "JPEG ends inside its header")
    return data[at + 2 : at + length], at + length


def _end_of_scan(data: bytes, at: int, name: str) -> int:
    found = _MARK.search(data, at)
    if found is None:
        raise cut_off(name, "JPEG end mark is missing")
    return found.start()


def _frame(mark: int, body: bytes, name: str) -> tuple[int, int]:
    if len(body) < 6:
        raise damaged(name, "JPEG frame is too short")
    if mark not in _READ:
        raise unsupported(name, f"as JPEG of kind C{mark & 15:X}")
    bits, height, width, components = struct.unpack(">BHHB", body[:6])
    if components == 1:
        raise grey(name)
    if components == 4:
        raise print_colours(name)
    if components != _COLOURS:
        raise damaged(name, f"{components} colour channels")
    if bits != 8:
        raise too_deep(name, bits)
    return width, height
