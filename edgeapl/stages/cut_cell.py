"""Whether the edge of an image of one cell cuts that cell in two.

The segmenter may join the cell with others that it touches, and these may reach the edge of the
image: they do in many a good image. So its stained part is split once more, by
nuclei, and only the cell in the middle is judged.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from edgeapl.stages.tiling import Bool
from edgeapl.types import Detections, Float32, Int32, UInt8

CUT_SHARE = 0.5
"""This share of a cell's width or height may lie on the edge of its image; see
`tests/data/measure_area.py`."""

CORE, LEAST_NUCLEUS = 0.6, 0.35
"""The core of a nucleus is as deep inside it as this share of its deepest point; and a nucleus is
as deep as this share of the deepest one."""

AT_MIDDLE = 0.1
"""The middle of a cell is so near to that of its image, as shares of the image's sides."""

NECK, NUCLEAR_NECK = 1.9, 0.5
"""Two cells touch along a line, and so do their nuclei, that is at most this many times the root of
the area of the one: lobes of one nucleus lie in one cytoplasm, and their border is longer. Measured
by `tests/data/measure_cut.py`."""

_GRAIN_PX = 5


def is_cut(cell: Detections) -> bool:
    """Tell whether the edge of its image cuts a cell, one row, in two.

    The image ends there for more than `CUT_SHARE` of the width or height of what is seen of it.
    """
    inside = cell.labels > 0
    if inside.all():
        return False  # no cell was found in it, so the whole image stands for it
    return share_on_edge(inside) > CUT_SHARE and not _is_whole_in_middle(cell, inside)


def share_on_edge(inside: Bool) -> float:
    """Return the share of the width or height of a found part, bool (H, W), on an edge."""
    across, down = (int(inside.any(axis=axis).sum()) for axis in (0, 1))
    return max(
        int(max(inside[0].sum(), inside[-1].sum())) / max(1, across),
        int(max(inside[:, 0].sum(), inside[:, -1].sum())) / max(1, down),
    )


def _is_whole_in_middle(cell: Detections, inside: Bool) -> bool:
    """Tell whether a whole cell stands in the middle, and the edge cuts its neighbours alone.

    inside : bool (H, W), what was found.
    """
    stain = _stain(cell.frame.pixels)
    stained = inside & _deeper(stain, np.ones_like(inside))
    nuclei = stained & _deeper(stain, stained)
    cores = _cores(nuclei)
    if int(cores.max()) < 2:
        return False
    one = stained & (_nearest(cores) == _most_central(cores))
    ends = (one[0], one[-1], one[:, 0], one[:, -1])
    if not one.any() or any(end.any() for end in ends) or not _is_at_middle(one):
        return False
    others = stained & ~one
    return _touch_briefly(one, others, NECK) and _touch_briefly(
        one & nuclei, others & nuclei, NUCLEAR_NECK
    )


def _stain(pixels: UInt8) -> UInt8:
    """Return how much bluer than green each pixel is, uint8 (H, W): as stained cells are.

    Ground and red cells, which an outline may span between two cells, have little of it.
    """
    green, blue = (cv2.extractChannel(pixels, channel) for channel in (1, 2))
    return np.asarray(cv2.medianBlur(cv2.subtract(blue, green), _GRAIN_PX), np.uint8)


def _deeper(stain: UInt8, within: Bool) -> Bool:
    """Return the pixels of the deeper of the two kinds within a part, bool (H, W)."""
    if not within.any():
        return within
    limit, _ = cv2.threshold(stain[within][None], 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return np.asarray(stain > limit, dtype=bool)


def _cores(nuclei: Bool) -> Int32:
    """Label the inside of each nucleus, int32 (H, W); touching ones are split."""
    mask = nuclei.astype(np.uint8)
    depth = np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 5), np.float32)
    deepest = _deepest_of_each(mask, depth)
    # Measured on the deepest of all, which may be two that touch, then on the small ones alone.
    large = depth > CORE * depth.max()
    small = (depth > CORE * deepest) & (deepest > LEAST_NUCLEUS * depth.max())
    small &= deepest <= CORE * depth.max()
    _, cores = cv2.connectedComponents((large | small).astype(np.uint8))
    return np.asarray(cores, np.int32)


def _deepest_of_each(mask: UInt8, depth: Float32) -> Float32:
    """Return the greatest depth of the component that each pixel lies in, float32 (H, W)."""
    count, found = cv2.connectedComponents(mask)
    components = np.asarray(found, np.int32)
    deepest = np.zeros(count, np.float32)
    np.maximum.at(deepest, components.ravel(), depth.ravel())
    return np.asarray(deepest[components], np.float32)


def _most_central(cores: Int32) -> int:
    """Return the number of the core whose centre is nearest to the middle of the image."""
    y, x = np.nonzero(cores)
    number = cores[y, x]
    size = np.bincount(number)[1:]
    off = [
        np.bincount(number, at)[1:] / size / length - 0.5
        for at, length in zip((y, x), cores.shape, strict=True)
    ]
    return 1 + int(np.hypot(*off).argmin())


def _nearest(cores: Int32) -> Int32:
    """Return the number of the core nearest to each pixel, int32 (H, W)."""
    _, nearest = cv2.distanceTransformWithLabels(
        (cores == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    number = np.zeros(int(nearest.max()) + 1, np.int32)
    some = cores > 0
    number[nearest[some]] = cores[some]
    return np.asarray(number[nearest], np.int32)


def _is_at_middle(one: Bool) -> bool:
    for axis in (0, 1):
        found = np.flatnonzero(one.any(axis=axis))
        off = (found[0] + found[-1] + 1) / 2 / one.shape[1 - axis] - 0.5
        if abs(off) > AT_MIDDLE:
            return False
    return True


def _touch_briefly(one: Bool, others: Bool, limit: float) -> bool:
    """Tell whether fewer pixels of the one touch the others than `limit` allows."""
    dilated = cv2.dilate(others.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    touching, size = int((one & dilated).sum()), int(one.sum())
    return touching < limit * math.sqrt(size)
