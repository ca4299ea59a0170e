"""The eight ways in which a square image can lie: mirrored, and turned by quarters."""

from __future__ import annotations

import numpy as np

from edgeapl.types import Int32, Int64, UInt8


def view_of(image: UInt8, number: int) -> UInt8:
    """Return a view of a square image, uint8 (S, S, 3), by its number, 0 to 7; 0 is the image.

    Its bits, lowest first: columns in reverse, rows in reverse, then rows for columns.
    """
    mirrored, flipped, turned = flags_of(np.array([number]))[0].tolist()
    seen = image[:: -1 if flipped else 1, :: -1 if mirrored else 1]
    return np.ascontiguousarray(seen.transpose(1, 0, 2) if turned else seen)


def flags_of(numbers: Int64 | Int32) -> Int32:
    """Return the bits of views, int32 (N, 3), in the order of `view_of`."""
    return np.asarray(numbers[:, None] >> np.arange(3) & 1, np.int32)
