"""Measure a TIFF LZW stream, so that a corrupt one is found: OpenCV decodes it without a word.

TIFF 6.0, section 13. After a clear code, code number j (from 0) adds the table entry 257 + j,
from j = 1 on, and codes grow from 9 to 12 bits at fixed j; so a whole block of codes can be cut
at once, without decoding it.
"""

from __future__ import annotations

import numpy as np

from edgeapl.types import Int64, UInt8

_CLEAR = 256
_END = 257
_FIRST_ENTRY = 258
_MOST_CODES = 4096 - 257
"""Codes between two clears: the table holds 4096 entries."""

_NUMBERS: Int64 = np.arange(_MOST_CODES, dtype=np.int64)
# The width grows one code early: entry 510, not 511, ends the 9-bit codes.
_WIDTHS: Int64 = (9 + (_NUMBERS > 253) + (_NUMBERS > 765) + (_NUMBERS > 1789)).astype(np.int64)
_STARTS: Int64 = np.cumsum(_WIDTHS) - _WIDTHS


def decoded_length(stream: bytes) -> int | None:
    """Give how many bytes a stream decodes to; None when it uses codes that do not exist.

    A stream without its end code counts up to its last whole code.
    """
    data = np.frombuffer(stream + bytes(3), dtype=np.uint8)
    bits = 8 * len(stream)
    at = total = 0
    while True:
        codes = _codes(data, at, bits)
        stops = np.flatnonzero((codes == _CLEAR) | (codes == _END))
        stop = int(stops[0]) if len(stops) else len(codes)
        length = _length(codes[:stop])
        if length is None:
            return None
        total += length
        if stop == len(codes):
            # Out of bits is the end; out of table without a clear is not LZW.
            return total if stop < _MOST_CODES else None
        if codes[stop] == _END:
            return total
        at += int(_STARTS[stop] + _WIDTHS[stop])


def _codes(data: UInt8, at: int, bits: int) -> Int64:
    """Cut the codes that follow a clear, as many as there can be, with the stop among them."""
    count = int(np.searchsorted(_STARTS + _WIDTHS, bits - at, side="right"))
    first = at + _STARTS[:count]
    byte = first >> 3
    window = (
        (data[byte].astype(np.int64) << 16)
        | (data[byte + 1].astype(np.int64) << 8)
        | data[byte + 2].astype(np.int64)
    )
    widths = _WIDTHS[:count]
    return np.asarray((window >> (24 - (first & 7) - widths)) & ((1 << widths) - 1), np.int64)


def _length(codes: Int64) -> int | None:
    """Bytes that a run of codes stands for: an entry is one longer than the code before it."""
    if not len(codes):
        return 0
    if codes[0] >= _CLEAR or bool(np.any(codes > 257 + _NUMBERS[: len(codes)])):
        return None
    entries = codes >= _FIRST_ENTRY
    before = np.where(entries, codes - _FIRST_ENTRY, -1)
    lengths = np.ones(len(codes), dtype=np.int64)
    while bool(np.any(rest := before >= 0)):  # follow the chains, twice as far each time
        source = before[rest]
        added, further = lengths[source], before[source]
        lengths[rest] += added
        before[rest] = further
    return int(lengths.sum())
