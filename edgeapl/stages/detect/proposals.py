"""From the first network's maps to the regions that the second judges."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.detect.anchors import SIZES, anchors
from edgeapl.stages.detect.boxes import clipped, large_enough, moved, thinned_apart
from edgeapl.types import Float32

MOST_PER_LEVEL = 1000
"""Proposals of one level before thinning out (torchvision's default for testing)."""

MOST = 1000
"""Proposals of a frame after it; Ren et al. 2015 test with 300, Lin et al. 2017 with 1000."""

OVERLAP = 0.7
"""Ren et al. 2015, section 3.3."""

SMALLEST_PX = 1e-3


def proposals(maps: Mapping[str, NDArray[np.generic]], height: int, width: int) -> Float32:
    """Return the most promising regions of a frame.

    Parameters
    ----------
    maps : `objectness_L` float32 (1, 3, h, w) and `deltas_L` float32 (1, 12, h, w) for levels 0 to
        4; channel 4 * anchor + coordinate.
    height, width : of the network's input, px.

    Returns
    -------
    float32 (N, 4), N at most `MOST`, best first, within the input.
    """
    boxes, scores, levels = [], [], []
    for level in range(len(SIZES)):
        found, logits = _level(maps, level, height, width)
        boxes.append(found)
        scores.append(logits)
        levels.append(np.full(len(found), level, dtype=np.int64))
    together, logits = clipped(np.concatenate(boxes), height, width), np.concatenate(scores)
    level_of = np.concatenate(levels)
    rows = np.flatnonzero(large_enough(together, SMALLEST_PX))
    kept = rows[thinned_apart(together[rows], logits[rows], level_of[rows], OVERLAP)]
    return together[kept[:MOST]]


def _level(
    maps: Mapping[str, NDArray[np.generic]], level: int, height: int, width: int
) -> tuple[Float32, Float32]:
    """Return the best boxes of one level and their logits; these order boxes as scores do."""
    logits = np.asarray(maps[f"objectness_{level}"], dtype=np.float32)[0]
    deltas = np.asarray(maps[f"deltas_{level}"], dtype=np.float32)[0]
    count, rows, columns = logits.shape
    flat = logits.transpose(1, 2, 0).ravel()
    best = np.argsort(-flat, kind="stable")[:MOST_PER_LEVEL]
    moves = deltas.reshape(count, 4, rows, columns).transpose(2, 3, 0, 1).reshape(-1, 4)
    starts = anchors(level, rows, columns, height, width)
    return moved(starts[best], moves[best]), flat[best]
