"""Which tiles are torn: put together of pieces, or of blocks that are larger than a pixel.

No lens draws an edge one pixel wide that runs straight along a row or column. Where a step lies
between two pixels, and hardly any beside it, on all lines of a tile at the same place, two pieces
meet: blocks that were exchanged or lost, coarse pixels, halves of two frames.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgeapl.stages.tile_lines import Lines
from edgeapl.stages.tiling import Bool, large_parts, over_neighbours
from edgeapl.types import Float32, UInt8

STEP, MOST_STEP = 6.0, 12.0
"""Mean step at a seam, grey values of green more than beside it. Twice as high where a frame has
sharp lines everywhere, as one that was made larger has, but at most `MOST_STEP`."""

OVER_USUAL, USUAL = 2.5, 0.25
"""And so many times what this quantile of the tiles has."""

ENCLOSED = 5
"""A tile with so many torn ones around it is torn."""

TORN_PART = 0.05
"""Torn tiles that touch count from this share of the frame on: writing on it is smaller."""

HIGHEST = 16
"""Steps count up to this, so that a quarter of the lines is never enough."""

SHORTEST = 4
"""Pixels of a line in a tile, at the least."""


def torn_tiles(lines: Lines) -> Bool:
    """Tell which tiles are put together of pieces, bool (R, C)."""
    across, down = (_highest_steps(*some) for some in lines.both())
    steps = np.maximum(across, down.T)
    usual = OVER_USUAL * float(np.quantile(steps, USUAL))
    torn = steps > min(max(STEP, usual), MOST_STEP)
    torn |= over_neighbours(torn.astype(np.float32)) >= ENCLOSED
    return large_parts(torn, TORN_PART, corners=True)


def _highest_steps(lines: UInt8, beside: int, along: int) -> Float32:
    """Return the highest step of every tile at one place on all its lines, (beside, along)."""
    length = lines.shape[1]
    if length < along * SHORTEST:
        return np.zeros((beside, along), np.float32)
    green = cv2.extractChannel(lines, 1)
    change = cv2.absdiff(green[:, 1:], green[:, :-1])
    nearby = np.maximum(change[:, :-2], change[:, 2:])
    alone = cv2.subtract(change[:, 1:-1], nearby, dtype=cv2.CV_16S)
    # One line has no say beyond this: speckles are steps, too, but not on all lines at one place.
    alone = np.minimum(alone, HIGHEST)
    mean = alone.reshape(beside, -1, alone.shape[1]).mean(axis=1, dtype=np.float32)
    starts = np.arange(along) * alone.shape[1] // along
    return np.asarray(np.maximum.reduceat(mean, starts, axis=1), np.float32)
