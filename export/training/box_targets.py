"""What a detector should have said: boxes matched with those that people drew, and the way there.

Ren et al. 2015, section 3.1.2, for anchors; Girshick 2015, section 2.3, for regions; numbers as in
torchvision's detectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from edgeapl.stages.detect.boxes import overlaps
from edgeapl.types import Float32, Int64

NOTHING, BETWEEN = -1, -2
"""Match of a box that shows no cell, and of one that is neither."""


@dataclass(frozen=True, slots=True)
class Matching:
    """Which boxes are examples.

    cell_from : overlap from which a box shows a cell. nothing_below : it shows none below.
    best_too : the best boxes of every drawn one show it, whatever their overlap.
    sampled : examples of an image. cells : largest share of cells among them.
    """

    cell_from: float
    nothing_below: float
    best_too: bool
    sampled: int
    cells: float


ANCHORS = Matching(0.7, 0.3, best_too=True, sampled=256, cells=0.5)
REGIONS = Matching(0.5, 0.5, best_too=False, sampled=512, cells=0.25)


def matched(boxes: Float32, drawn: Float32, how: Matching) -> Int64:
    """Return the drawn box that each box shows, int64 (N,), or `NOTHING` or `BETWEEN`.

    boxes : float32 (N, 4). drawn : float32 (M, 4); M may be 0.
    """
    if not len(drawn):
        return np.full(len(boxes), NOTHING, dtype=np.int64)
    found = overlaps(boxes, drawn)
    best, overlap = found.argmax(1), found.max(1)
    match = np.where(overlap >= how.cell_from, best, BETWEEN)
    match[overlap < how.nothing_below] = NOTHING
    if how.best_too:
        most = found.max(0)
        rows, _ = np.nonzero((found == most) & (most > 0))
        match[rows] = best[rows]
    return match.astype(np.int64)


def sampled(match: Int64, how: Matching, random: torch.Generator) -> tuple[Int64, Int64]:
    """Draw the rows of cells and of nothing that are learned from."""
    cells = _drawn(np.flatnonzero(match >= 0), int(how.sampled * how.cells), random)
    nothing = _drawn(np.flatnonzero(match == NOTHING), how.sampled - len(cells), random)
    return cells, nothing


def _drawn(rows: Int64, most: int, random: torch.Generator) -> Int64:
    order = torch.randperm(len(rows), generator=random).numpy()
    return np.asarray(rows[order[:most]], dtype=np.int64)


def deltas_to(boxes: Float32, drawn: Float32, weights: tuple[float, float] = (1.0, 1.0)) -> Float32:
    """Return what moves boxes to drawn ones, float32 (N, 4): the inverse of `boxes.moved`."""
    sides, wanted = boxes[:, 2:] - boxes[:, :2], drawn[:, 2:] - drawn[:, :2]
    shifts = (drawn[:, :2] + drawn[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2 / sides
    growths = np.log(wanted / sides)
    return np.concatenate([shifts * weights[0], growths * weights[1]], 1).astype(np.float32)
