"""Boxes, float32 (N, 4), x0 y0 x1 y1 in px: move, clip, compare, thin out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Float32, Int64

LARGEST_STRETCH = math.log(1000 / 16)
"""Bound of the logarithm of a box's growth, as in all usual implementations: 1000 px at 16 px."""

MOST_COMPARED = 512
"""Boxes compared with all others at a time, which bounds the memory of thinning out."""


def moved(boxes: Float32, deltas: Float32, weights: tuple[float, float] = (1.0, 1.0)) -> Float32:
    """Apply what a network says about boxes (Girshick et al. 2014, appendix C).

    Parameters
    ----------
    boxes : float32 (N, 4). deltas : float32 (N, 4): shift of the centre in box sides, logarithm of
        the growth. weights : divisors of shifts and growths.
    """
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    x = boxes[:, 0] + widths / 2 + deltas[:, 0] / weights[0] * widths
    y = boxes[:, 1] + heights / 2 + deltas[:, 1] / weights[0] * heights
    wide = widths * np.exp(np.minimum(deltas[:, 2] / weights[1], LARGEST_STRETCH))
    high = heights * np.exp(np.minimum(deltas[:, 3] / weights[1], LARGEST_STRETCH))
    sides = [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2]
    return np.stack(sides, axis=1).astype(np.float32)


def clipped(boxes: Float32, height: float, width: float) -> Float32:
    """Keep boxes within an image of this size, px."""
    limits = np.array([width, height, width, height], dtype=np.float32)
    return np.asarray(np.clip(boxes, 0, limits), dtype=np.float32)


def large_enough(boxes: Float32, side: float) -> NDArray[np.bool_]:
    """Tell which boxes have both sides of at least `side` px."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.asarray((sides >= side).all(axis=1))


def overlaps(some: Float32, others: Float32) -> Float32:
    """Return the intersection over union of every pair, float32 (N, M)."""
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (some, others)]
    union = areas[0][:, None] + areas[1][None] - both
    return np.asarray(np.divide(both, union, out=np.zeros_like(both), where=union > 0), np.float32)


def thinned(boxes: Float32, scores: Float32, limit: float) -> Int64:
    """Greedy non-maximum suppression: drop what overlaps a better box by more than the limit.

    Returns int64 (K,), rows that are kept, best first; of equal scores the earlier row first.
    The answer is that of the plain greedy loop; rows are compared a block at a time.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    alive = np.ones(len(order), dtype=bool)
    for start in range(0, len(order), MOST_COMPARED):
        block = order[start : start + MOST_COMPARED]
        if not alive[start : start + len(block)].any():
            continue
        collide = overlaps(boxes[block], boxes[order[start:]]) > limit
        for row in range(len(block)):
            if alive[start + row]:
                kept.append(int(block[row]))
                alive[start + row + 1 :] &= ~collide[row, row + 1 :]
    return np.array(kept, dtype=np.int64)


def thinned_apart(boxes: Float32, scores: Float32, groups: Int64, limit: float) -> Int64:
    """Thin out boxes of each group by themselves, e.g. levels; rows as in `thinned`."""
    if not len(boxes):
        return np.empty(0, dtype=np.int64)
    kept = np.concatenate(
        [
            rows[thinned(boxes[rows], scores[rows], limit)]
            for rows in (np.flatnonzero(groups == group) for group in np.unique(groups))
        ]
    )
    # By score, then by row, so that the groups' own order leaves no trace.
    return kept[np.lexsort((kept, -scores[kept]))]
