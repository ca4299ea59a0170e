"""Grey reconstruction of many small images at once, side by side in one."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edgeapl.types import Float32

NEIGHBOURS = np.ones((3, 3), np.uint8)

_WIDTH = 1024
"""Of the image that they are put into, px, unless one is wider."""

_STEPS = 4
"""Dilations between two looks whether anything still changes."""

Place = tuple[slice, slice]


def reconstructed(markers: Sequence[Float32], limits: Sequence[Float32]) -> list[Float32]:
    """Raise each marker from its maxima up to its limit (Soille 2003, section 6.2).

    Parameters
    ----------
    markers, limits : float32 (h, w) of any sizes, not below 0, a marker nowhere above its limit.

    One image is dilated in place of each: a call for a nucleus takes longer than its pixels.
    """
    if not markers:
        return []
    places, size = side_by_side([marker.shape for marker in markers])
    raised, limit = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for place, marker, top in zip(places, markers, limits, strict=True):
        raised[place], limit[place] = marker, top
    changing = True
    while changing:
        before = raised
        for _ in range(_STEPS):
            raised = np.minimum(cv2.dilate(raised, NEIGHBOURS), limit)
        changing = not np.array_equal(raised, before)
    return [raised[place] for place in places]


def side_by_side(shapes: Sequence[tuple[int, ...]]) -> tuple[list[Place], tuple[int, int]]:
    """Give a place for each image on shelves, 1 px apart so that none touches, and the whole size.

    shapes : (height, width) each.
    """
    width = max(_WIDTH, *(shape[1] for shape in shapes))
    places: dict[int, Place] = {}
    top = left = deepest = 0
    for row in sorted(range(len(shapes)), key=lambda row: -shapes[row][0]):
        high, wide = shapes[row]
        if left + wide > width:
            top, left, deepest = top + deepest + 1, 0, 0
        places[row] = (slice(top, top + high), slice(left, left + wide))
        left, deepest = left + wide + 1, max(deepest, high)
    return [places[row] for row in range(len(shapes))], (top + deepest, width)
