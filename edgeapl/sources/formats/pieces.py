"""Check the strips or tiles of a TIFF: OpenCV fills a corrupt one with black and says nothing."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from edgeapl.sources.formats.header import cut_off, damaged, unsupported
from edgeapl.sources.formats.lzw import decoded_length

_NONE, _LZW, _PACKBITS = 1, 5, 32773
_DEFLATE = (8, 32946)
_NOTHING = 128


@dataclass(frozen=True, slots=True)
class Layout:
    """How a TIFF stores its pixels, one byte per channel.

    width, height : px. channels : per pixel. packing : TIFF tag 259.
    planar : each channel has pieces of its own.
    tiled : pieces are tiles, all of full size; else strips, of which the last may be shorter.
    size : width and height of a piece, px.
    places : start and length in bytes of every piece.
    """

    width: int
    height: int
    channels: int
    packing: int
    planar: bool
    tiled: bool
    size: tuple[int, int]
    places: tuple[tuple[int, int], ...]


def check_pieces(data: bytes, layout: Layout, name: str) -> None:
    """Refuse a TIFF with a missing, short or corrupt piece; raises InputError."""
    width, height = layout.size
    across = -(-layout.width // width)
    down = -(-layout.height // height)
    planes = layout.channels if layout.planar else 1
    per_pixel = 1 if layout.planar else layout.channels
    whole = width * height * per_pixel
    if len(layout.places) != across * down * planes:
        raise damaged(name, f"TIFF has {len(layout.places)} of {across * down * planes} parts")
    for number, (start, length) in enumerate(layout.places):
        if start + length > len(data):
            raise cut_off(name, "TIFF ends inside its pixels")
        row = number // across % down
        rows = height if layout.tiled else min(height, layout.height - row * height)
        decoded = _length(data[start : start + length], layout.packing, whole, name)
        # Some writers fill the last strip up to full height.
        if decoded is None or not width * rows * per_pixel <= decoded <= whole:
            raise damaged(name, f"TIFF part {number + 1} of {len(layout.places)} is corrupt")


def _length(piece: bytes, packing: int, whole: int, name: str) -> int | None:
    """Bytes that a piece decodes to; None when it is corrupt."""
    if packing == _NONE:
        return min(len(piece), whole)
    if packing == _LZW:
        return decoded_length(piece)
    if packing in _DEFLATE:
        return _deflated(piece, whole)
    if packing == _PACKBITS:
        return _packed_bits(piece, whole)
    raise unsupported(name, f"as TIFF with compression {packing}")


def _deflated(piece: bytes, whole: int) -> int | None:
    unpacker = zlib.decompressobj()
    try:
        # One byte more than there can be, so that a bomb is not unpacked.
        length = len(unpacker.decompress(piece, whole + 1))
    except zlib.error:
        return None
    return length if unpacker.eof else None


def _packed_bits(piece: bytes, whole: int) -> int:
    at = length = 0
    while at < len(piece) and length < whole:
        head = piece[at]
        if head < _NOTHING:
            if at + 2 + head > len(piece):
                return length
            at, length = at + 2 + head, length + head + 1
        elif head > _NOTHING:
            at, length = at + 2, length + 257 - head
        else:
            at += 1
    return length
