"""What colour the red cells of a field have: the field tells it itself, whatever the stain.

A dye keeps its hue however thick the layer: blue over green absorption is one number for all red
cells of a field, from pale centres to overlaps, and a clearly smaller one for nuclei. The number
itself runs from 0.3 (violet cells, Giemsa) to above 1, so no fixed limit separates them everywhere.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Float32

Float64 = NDArray[np.float64]

SIDE_PX = 320
"""Longer side of the image whose hues are counted."""

STAINED = 0.08
"""Green optical density from which a hue can be told from noise."""

RATIOS = (0.28, 1.5)
"""Blue over green absorption of red cells. Below are nuclei, above is dirt on pale background."""

DOUBTFUL = 0.46
"""Nuclei in yellow light reach this, too."""

NUCLEAR_RED = (0.2, 0.58)
"""Red over green absorption of nuclei in that light; red cells lie below, violet ones above."""

STEP = 0.02
"""Width of the bins in which hues are counted."""

SPREAD = 0.05
"""Sigma of one red-cell hue, noise and out-of-focus rims included."""

FEWEST = 0.02
"""Share of the field that red cells must cover before they tell anything."""

PEAK = 0.3
"""A hue counts beside the most frequent one from this share of its pixels on."""

EDGE = 0.04
"""Share of the pixels at the edge that have the hue: red cells go on beyond the field, the one
cell that an image was cut out for does not."""

BOUND = 0.75
"""Share of the red cells' hue below which no red cell lies."""

BLUEST = 0.43
"""The bound where no red cells are to be seen: nuclei have 0.0 to 0.34 where looked at, dirt above
0.5."""


def red_cell_hue(density: Float32) -> float | None:
    """Give the blue over green absorption of the red cells, None where a field shows none.

    Parameters
    ----------
    density : float32 (3, H, W), optical densities R G B.
    """
    _, height, width = density.shape
    shrink = min(1.0, SIDE_PX / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    red, green, blue = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in density)
    stained = green > STAINED
    hues = np.where(stained, blue / np.maximum(green, STAINED), -1)
    edge = np.concatenate([hues[0], hues[-1], hues[:, 0], hues[:, -1]])
    counts, bins = np.histogram(hues[stained], np.arange(0, RATIOS[1], STEP))
    middles = (bins[:-1] + bins[1:]) / 2
    smooth = _smoothed(counts.astype(np.float64))
    found = []
    for at in _peaks(smooth):
        near = np.abs(hues - middles[at]) <= 2 * SPREAD
        covers = np.count_nonzero(near) / near.size
        touches = np.count_nonzero(np.abs(edge - middles[at]) <= 2 * SPREAD) / edge.size
        if middles[at] < RATIOS[0] or covers < FEWEST or touches < EDGE:
            continue
        redness = float((red[near] / green[near]).mean())
        if middles[at] > DOUBTFUL or not NUCLEAR_RED[0] < redness < NUCLEAR_RED[1]:
            found.append((float(middles[at]), float(covers)))
    most = max((covers for _, covers in found), default=0.0)
    return max((hue for hue, covers in found if covers >= PEAK * most), default=None)


def _smoothed(counts: Float64) -> Float64:
    reach = np.arange(-3 * SPREAD, 3 * SPREAD + STEP / 2, STEP)
    kernel = np.exp(-((reach / SPREAD) ** 2) / 2)
    return np.convolve(counts, kernel / kernel.sum(), mode="same")


def _peaks(heights: Float64) -> list[int]:
    """Give the places that are higher than both neighbours."""
    below, at, above = heights[:-2], heights[1:-1], heights[2:]
    return (np.flatnonzero((at > below) & (at >= above)) + 1).tolist()


def bluest_nucleus(hue: float | None) -> float:
    """Give the blue over green absorption above which nothing is a nucleus.

    Parameters
    ----------
    hue : of `red_cell_hue`.
    """
    return BLUEST if hue is None else min(BLUEST, BOUND * hue)
