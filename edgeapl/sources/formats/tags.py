"""Read the tag lists that TIFF and EXIF share."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Set
from dataclasses import dataclass

ORIENTATION = 274

_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "s", 8: "h", 9: "i", 10: "ii"}
_TYPES |= {11: "f", 12: "d", 13: "I"}

_MOST_VALUES = 4_000_000
"""One strip per row and channel of the largest image that is read, with room to spare."""

Values = tuple[float, ...]


class TagsError(ValueError):
    """The list does not fit into the data."""


@dataclass(frozen=True, slots=True)
class TagList:
    """One list of tags, an IFD.

    numbers : tag to its values; a rational is one float, or infinity when it divides by 0.
    texts : tag to its bytes, for the types that hold text.
    next_at : where the next list stands, 0 for none.
    """

    numbers: Mapping[int, Values]
    texts: Mapping[int, bytes]
    next_at: int


def byte_order(data: bytes) -> str:
    """Give the struct prefix of a TIFF or EXIF block; raises TagsError."""
    orders = {b"II*\0": "<", b"MM\0*": ">"}
    if data[:4] not in orders:
        raise TagsError("no TIFF start")
    return orders[data[:4]]


def first_list_at(data: bytes, order: str) -> int:
    """Give where the first list stands; raises TagsError."""
    return int(_unpack(order + "I", data, 4)[0])


def read_tags(data: bytes, order: str, at: int, wanted: Set[int]) -> TagList:
    """Read the wanted tags of one list.

    Raises TagsError when the list or a wanted value lies outside, or a wanted tag stands twice.
    """
    count = _unpack(order + "H", data, at)[0]
    numbers: dict[int, Values] = {}
    texts: dict[int, bytes] = {}
    for row in range(count):
        start = at + 2 + 12 * row
        tag, kind, length = _unpack(order + "HHI", data, start)
        form = _TYPES.get(kind)
        if tag not in wanted or form is None:
            continue  # readers must skip what they do not know (TIFF 6.0, section 2)
        if tag in numbers or tag in texts:
            raise TagsError(f"tag {tag} stands twice")
        if length > _MOST_VALUES:
            raise TagsError(f"tag {tag} has {length} values")
        size = struct.calcsize("=" + form) * length
        place = start + 8 if size <= 4 else _unpack(order + "I", data, start + 8)[0]
        if place + size > len(data):
            raise TagsError(f"tag {tag} lies outside")
        if form == "s":
            texts[tag] = data[place : place + length]
        else:
            values = struct.unpack_from(f"{order}{len(form) * length}{form[0]}", data, place)
            numbers[tag] = _fractions(values) if len(form) == 2 else values
    return TagList(numbers, texts, int(_unpack(order + "I", data, at + 2 + 12 * count)[0]))


def exif_orientation(block: bytes) -> int:
    """Give the orientation of an EXIF block, 1 to 8; 1 when it holds none that can be read.

    Pixels are examined as stored whatever it says, so a broken block does no harm.
    """
    try:
        order = byte_order(block)
        tags = read_tags(block, order, first_list_at(block, order), {ORIENTATION})
    except TagsError:
        return 1
    value = tags.numbers.get(ORIENTATION, (1,))
    return int(value[0]) if value and value[0] in range(1, 9) else 1


def _fractions(values: tuple[int, ...]) -> Values:
    pairs = zip(values[::2], values[1::2], strict=True)
    return tuple(over / under if under else float("inf") for over, under in pairs)


def _unpack(form: str, data: bytes, at: int) -> tuple[int, ...]:
    if at + struct.calcsize(form) > len(data):
        raise TagsError("list lies outside")
    return struct.unpack_from(form, data, at)
