"""What colour the red cells of a field have: the field tells it itself, whatever the stain.

A dye keeps its hue however thick the layer: blue over green absorption is one number for all red
cells of a field, from pale centres to overlaps, and a clearly smaller one for nuclei. The number
itself runs from 0.3 (violet cells, Giemsa) to above 1, so no fixed limit separates them everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Float32, Int32

Float64 = NDArray[np.float64]

SIDE_PX = 256
"""Longer side of the image whose hues are counted."""

STAINED = 0.06
"""Green optical density from which a hue can be told from noise."""

RATIOS = (0.28, 1.5)
"""Blue over green absorption of red cells. Below are nuclei, above is dirt on pale background."""

DOUBTFUL = 0.46
"""Nuclei in yellow light reach this, too."""

NUCLEAR_RED = (0.2, 0.58)
"""Red over green absorption of nuclei in that light; red cells lie below, violet ones above."""

STEP = 0.02
"""Width of the bins in which hues are counted."""

BINS = round(RATIOS[1] / STEP)

SPREAD = 0.05
"""Sigma of one red-cell hue, noise and out-of-focus rims included."""

ALIKE = 5
"""Bins to both sides that belong to one hue: twice its sigma."""

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


@dataclass(frozen=True, slots=True)
class RedCells:
    """The colour of the red cells of a field.

    hue : blue over green absorption. density : green optical density, the median.
    """

    hue: float
    density: float


def red_cells_of(density: Float32) -> RedCells | None:
    """Tell the colour of the red cells of a field; None where it shows none.

    Parameters
    ----------
    density : float32 (3, H, W), optical densities R G B.
    """
    _, height, width = density.shape
    shrink = min(1.0, SIDE_PX / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    red, green, blue = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in density)
    bins = _bins(green, blue)
    edge = np.concatenate([bins[0], bins[-1], bins[:, 0], bins[:, -1]])
    counts, at_edge = _counted(bins.ravel()), _counted(edge)
    found = []
    for peak in _peaks(_smoothed(counts)):
        hue = (peak + 0.5) * STEP
        alike = slice(max(0, peak - ALIKE), peak + ALIKE + 1)
        covers = float(counts[alike].sum()) / bins.size
        if hue < RATIOS[0] or covers < FEWEST or at_edge[alike].sum() < EDGE * edge.size:
            continue
        near = np.flatnonzero(np.abs(bins - peak) <= ALIKE)
        greens = green.ravel()[near]
        redness = float((red.ravel()[near] / greens).mean())
        if hue > DOUBTFUL or not NUCLEAR_RED[0] < redness < NUCLEAR_RED[1]:
            found.append((covers, RedCells(hue, float(np.median(greens)))))
    most = max((covers for covers, _ in found), default=0.0)
    bluest = [cells for covers, cells in found if covers >= PEAK * most]
    return max(bluest, key=lambda cells: cells.hue, default=None)


def _bins(green: Float32, blue: Float32) -> Int32:
    """Return every pixel's hue in steps of STEP, int32 (h, w); far below 0 without one."""
    hues = blue / np.maximum(green, np.float32(STAINED))
    bins = np.floor(hues * np.float32(1 / STEP)).astype(np.int32)
    bins[green <= STAINED] = -BINS
    return bins


def _counted(bins: Int32) -> Float64:
    """Count hues from 0 to the highest."""
    seen = bins[(bins >= 0) & (bins < BINS)]
    return np.bincount(seen, minlength=BINS).astype(np.float64)


def _smoothed(counts: Float64) -> Float64:
    reach = np.arange(-3 * SPREAD, 3 * SPREAD + STEP / 2, STEP)
    kernel = np.exp(-((reach / SPREAD) ** 2) / 2)
    return np.convolve(counts, kernel / kernel.sum(), mode="same")


def _peaks(heights: Float64) -> list[int]:
    """Return the places that are higher than both neighbours."""
    below, at, above = heights[:-2], heights[1:-1], heights[2:]
    return (np.flatnonzero((at > below) & (at >= above)) + 1).tolist()


def bluest_nucleus(red_cells: RedCells | None) -> float:
    """Return the blue over green absorption above which nothing is a nucleus.

    Parameters
    ----------
    red_cells : of the same field.
    """
    return BLUEST if red_cells is None else min(BLUEST, BOUND * red_cells.hue)
