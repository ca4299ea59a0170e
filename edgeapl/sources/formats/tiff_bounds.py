"""Bounds the work that a TIFF can cause, before anything in it is trusted.

A file of 1 MB can hold overlapping lists of tags, chains of a hundred thousand images, or strips
that all point to the same bytes, and keep a reader busy for minutes. In a sound file everything has
its own place, so its contents together are never larger than the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edgeapl.errors import InputError
from edgeapl.sources.formats.header import cut_off, damaged

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

MOST_IMAGES = 4096
"""Most images in one file, thumbnails included."""

MOST_TAGS = 1000
"""Most tags of one image; TIFF 6.0 defines 70, and programs add some dozens."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}


@dataclass(frozen=True, slots=True)
class _Form:
    """How classic TIFF and BigTIFF store lists, as struct formats."""

    first: str
    first_at: int
    count: str
    row: str
    next_at: str


_CLASSIC = _Form("I", 4, "H", "HHI4s", "I")
_BIG = _Form("Q", 8, "Q", "HHQ8s", "Q")


def check_bounds(data: bytes, name: str) -> int:
    """Walk through all images of a file, and return their number.

    Raises InputError when a list or a value is outside the file, lists form a ring or overlap, a
    tag is repeated, or there is more of anything than a sound file can hold.
    """
    order = "<" if data[:2] == b"II" else ">"
    form = _BIG if 43 in data[2:4] else _CLASSIC
    try:
        at = _unpack(order + form.first, data, form.first_at)[0]
        lists: dict[int, int] = {}
        left = len(data)
        while at:
            if at in lists:
                raise damaged(name, "TIFF images point at each other in a ring")
            if len(lists) == MOST_IMAGES:
                raise InputError(
                    f"file holds more than {MOST_IMAGES} images", name, "save fewer in one file"
                )
            end, values, following = _check_list(data, order, form, at, name)
            lists[at] = end
            left -= (end - at) + values
            if left < 0:
                raise damaged(name, "TIFF lists lie over each other")
            at = following
    except _OutsideError as error:
        # A list that points past the end is typical of a truncated file.
        raise cut_off(name, f"TIFF: {error}") from error
    if not lists:
        raise damaged(name, "TIFF without an image")
    return len(lists)


def _check_list(data: bytes, order: str, form: _Form, at: int, name: str) -> tuple[int, int, int]:
    """Return where a list ends, the size of its values stored elsewhere, and the next list."""
    count = _unpack(order + form.count, data, at)[0]
    if count > MOST_TAGS:
        raise damaged(name, f"TIFF image with {count} tags")
    start = at + struct.calcsize(order + form.count)
    row = struct.calcsize(order + form.row)
    seen: set[int] = set()
    values = 0
    for number in range(count):
        tag, kind, length, inline = _unpack(order + form.row, data, start + number * row)
        if tag in seen:
            raise damaged(name, f"TIFF tag {tag} stands twice")
        seen.add(tag)
        size = _SIZES.get(kind, 0) * length
        if size > len(inline):
            place = int(struct.unpack(order + form.next_at, inline)[0])
            if place + size > len(data):
                raise _OutsideError(f"tag {tag} lies outside")
            values += size
    end = start + count * row
    following = int(_unpack(order + form.next_at, data, end)[0])
    return end, values, following


class _OutsideError(ValueError):
    """Something is outside the data."""


def _unpack(form: str, data: bytes, at: int) -> tuple[int, int, int, bytes]:
    if at + struct.calcsize(form) > len(data):
        raise _OutsideError("list lies outside")
    return struct.unpack_from(form, data, at)
