"""Which tiles were smoothed: no pixel of theirs differs from the ones beside it as others do.

Every camera's image has grain. A part that was blurred, averaged or filtered afterwards has none,
however sharp its edges are. Quarters of tiles are looked at, too: a blurred spot fills no tile.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgeapl.stages.tile_lines import Lines, sums_by_tile
from edgeapl.stages.tiling import Bool, large_parts, with_ground
from edgeapl.types import Float32, UInt8

ROUGH = 1
"""A pixel that differs by more than this, in grey values of green, from the mean of the two beside
it, twice over, is rough."""

SMOOTHED, USUAL = 0.4, 0.75
"""A tile was smoothed that has less than this share of the rough pixels which this quantile of the
tiles with something to see has."""

SMOOTHED_PART = 0.05
"""Smoothed tiles that touch count from this share of the frame on."""

QUARTER, QUARTER_SPREAD = 0.13, 0.15
"""However few there are, a tile counts of which a quarter has less than this share of the usual, if
grey values spread in it, as a standard deviation, by so much of what they do between the 5th and
95th percentile of the frame. In one of 553 real fields a quarter had 0.19."""

LEAST_SPREAD = 5.0
"""And by so much at the least, grey values."""

SMOOTH_GROUND = 0.3
"""Where more of the other quarters, the empty ground, is so smooth, the image was denoised or
drawn, and quarters say nothing."""

LEAST_ROUGH = 0.02
"""A frame with a smaller share of rough pixels has no grain that could be missed."""

_CURVATURE = np.array([[1, -2, 1]], np.float32)


def smoothed_tiles(lines: Lines, structured: Bool) -> Bool:
    """Tell which tiles were smoothed, bool (R, C). structured : with something to see."""
    if not structured.any():
        return np.zeros_like(structured)
    across, down = (_rough_and_spread(*some) for some in lines.both())
    rough, spread = (np.minimum(one, other.T) for one, other in zip(across, down, strict=True))
    rows, columns = lines.grid
    by_tile = [one.reshape(rows, 2, columns, 2).mean(axis=(1, 3)) for one in (across[0], down[0].T)]
    whole = np.minimum(*by_tile)
    usual = float(np.quantile(whole[structured], USUAL))
    if usual < LEAST_ROUGH:
        return np.zeros_like(structured)
    low, high = np.quantile(lines.rows[:, ::5, 1], [0.05, 0.95])
    seen = spread > max(LEAST_SPREAD, QUARTER_SPREAD * float(high - low))
    smooth = rough < QUARTER * usual
    if not seen.all() and smooth[~seen].mean() > SMOOTH_GROUND:
        smooth[:] = False
    quarters = smooth & seen
    spots = quarters.reshape(rows, 2, columns, 2).any(axis=(1, 3)) & structured
    smoothed = large_parts(structured & (whole < SMOOTHED * usual), SMOOTHED_PART)
    return with_ground(smoothed, structured) | spots


def _rough_and_spread(lines: UInt8, beside: int, along: int) -> tuple[Float32, Float32]:
    """Return, for every quarter of a tile, float32 (2 * beside, 2 * along) each.

    Two figures: the share of rough pixels, and the standard deviation of green.
    """
    green = cv2.extractChannel(lines, 1)
    rough = cv2.inRange(cv2.filter2D(green, cv2.CV_16S, _CURVATURE), -ROUGH, ROUGH) == 0
    beside, along = 2 * beside, 2 * along
    values = green.astype(np.float32)
    count = green.size / (beside * along)
    share, mean, squared = (
        sums_by_tile(one, beside, along) / count
        for one in (rough.astype(np.float32), values, values * values)
    )
    return share, np.sqrt(np.maximum(squared - mean * mean, 0))
