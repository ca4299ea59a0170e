"""Scales samples of 9 to 16 bits to 8, and says how."""

from __future__ import annotations

import numpy as np

from edgeapl.errors import InputError
from edgeapl.types import Remark, UInt8, UInt16

DEPTHS = (8, 9, 10, 11, 12, 13, 14, 15, 16)
USUAL = (8, 10, 12, 14, 16)
"""Bit depths of cameras; a file that states none is assumed to use one of these."""


def to_8_bits(samples: UInt16, stated: int | None, name: str) -> tuple[UInt8, tuple[Remark, ...]]:
    """Scale samples, uint16 of any shape, to uint8.

    stated : bits per sample that the camera used, as the file states; None chooses the smallest
        usual depth that holds the largest sample, which in bright field is the background.

    The largest value of that depth becomes 255. Raises InputError when a sample is larger than the
    stated depth allows.
    """
    largest = int(samples.max(initial=0))
    if stated is None:
        bits = next(depth for depth in USUAL if largest < 1 << depth)
        origin = "read from the largest value: the file does not say"
    else:
        bits, origin = stated, "as the file says"
    if bits not in DEPTHS or largest >= 1 << bits:
        found = f"samples up to {largest} where {bits} bits are stated"
        raise InputError(f"image is damaged ({found})", name, "save it with 8 bits per channel")
    top = (1 << bits) - 1
    table = np.round(np.arange(top + 1) * (255 / top)).astype(np.uint8)
    text = f"samples of {bits} bits ({origin}) were scaled to 8: {top} became 255"
    return np.asarray(table[samples], dtype=np.uint8), (Remark("depth", text),)
