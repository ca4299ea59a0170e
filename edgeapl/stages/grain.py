"""Which tiles were smoothed: no pixel of theirs differs from the ones beside it as others do.

Every camera's picture has grain. A part that was blurred, averaged or filtered afterwards has none,
however sharp its edges are.
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

LEAST_ROUGH = 0.02
"""A frame with a smaller share of rough pixels has no grain that could be missed."""

_CURVATURE = np.array([[1, -2, 1]], np.float32)


def smoothed_tiles(lines: Lines, structured: Bool) -> Bool:
    """Tell which tiles were smoothed, bool (R, C). structured : with something to see."""
    if not structured.any():
        return np.zeros_like(structured)
    across, down = (_rough_shares(*some) for some in lines.both())
    rough = np.minimum(across, down.T)
    usual = float(np.quantile(rough[structured], USUAL))
    if usual < LEAST_ROUGH:
        return np.zeros_like(structured)
    smoothed = large_parts(structured & (rough < SMOOTHED * usual), SMOOTHED_PART)
    return with_ground(smoothed, structured)


def _rough_shares(lines: UInt8, beside: int, along: int) -> Float32:
    """Give the share of rough pixels of every tile, float32 (beside, along)."""
    curved = cv2.filter2D(cv2.extractChannel(lines, 1), cv2.CV_16S, _CURVATURE)
    rough = cv2.inRange(curved, -ROUGH, ROUGH) == 0
    sums = sums_by_tile(rough.astype(np.float32), beside, along)
    return np.asarray(sums * (beside * along / rough.size), np.float32)
