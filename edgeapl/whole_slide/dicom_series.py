"""The series that a DICOM file belongs to: all files of one scan have the same (DICOM PS3.5)."""

from __future__ import annotations

import struct
from pathlib import Path

HEAD_BYTES = 1 << 20
"""Of a file; its series stands far in front of its pixels."""

_SERIES = (0x0020, 0x000E)
_SYNTAX = (0x0002, 0x0010)
_IMPLICIT, _BIG, _DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR"})
_LONG |= {b"UT", b"UV"}
_ITEM, _END_OF_ITEM, _END_OF_SEQUENCE = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_OPEN = 0xFFFFFFFF
_MOST_DEPTH = 16


def series_of(file: Path) -> str:
    """Return the series (0020,000E) of a DICOM file; empty for any other. Raises OSError."""
    with file.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
    if head[128:132] != b"DICM":
        return ""
    try:
        return _found(head)
    except (struct.error, IndexError):
        return ""


def _found(head: bytes) -> str:
    at, explicit = 132, True
    while True:
        tag = struct.unpack_from("<HH", head, at)
        length, start = _value(head, at, explicit=explicit or tag[0] == 2)
        if tag == _SYNTAX:
            syntax = _text(head, start, length)
            if syntax in (_BIG, _DEFLATED):
                return ""
            explicit = syntax != _IMPLICIT
        if tag == _SERIES:
            return _text(head, start, length)
        if tag > _SERIES:
            return ""
        at = start + length if length != _OPEN else _after(head, start, explicit=explicit)


def _value(head: bytes, at: int, *, explicit: bool) -> tuple[int, int]:
    """Return a value's length and where it starts."""
    if not explicit:
        return int(struct.unpack_from("<I", head, at + 4)[0]), at + 8
    if head[at + 4 : at + 6] in _LONG:
        return int(struct.unpack_from("<I", head, at + 8)[0]), at + 12
    return int(struct.unpack_from("<H", head, at + 6)[0]), at + 8


def _after(head: bytes, at: int, *, explicit: bool, depth: int = 0) -> int:
    """Return where a sequence without a length, or an item of one, ends."""
    if depth > _MOST_DEPTH:
        raise IndexError
    while True:
        tag = struct.unpack_from("<HH", head, at)
        if tag in (_END_OF_ITEM, _END_OF_SEQUENCE):
            return at + 8
        length, start = _value(head, at, explicit=explicit and tag != _ITEM)
        if length == _OPEN:
            at = _after(head, start, explicit=explicit, depth=depth + 1)
        else:
            at = start + length


def _text(head: bytes, start: int, length: int) -> str:
    # A part of a name could be the name of another series.
    if start + length > len(head):
        raise IndexError
    return head[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
