"""Find the size that most round outlines of an image share, in clumps as well as alone.

Every point of a red cell's outline is one radius away from its centre, along the gradient of the
stain. So all outline points vote for a centre, radius by radius (the circle Hough transform with
gradient directions; Kimme, Ballard and Sklansky 1975), and at the cells' own radius the votes pile
up. Overlapping cells, pale centres and cells cut by the frame leave enough of their arcs. Every
radius is examined at a size of the image where it is VOTING_RADIUS_PX long, so that noise, blur and
sampling act alike on all of them and the heights can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.segment.illumination import optical_density
from edgeapl.stages.segment.red_cells import BLUEST, RedCells, bluest_nucleus, red_cells_of
from edgeapl.types import Float32

Float64 = NDArray[np.float64]

LARGEST_SIDE_PX = 1400
"""Larger images are reduced first: 0.06 µm/px over 2560 px still leaves radii of 30 px."""

SMALLEST_RADIUS_PX = 10.0
"""In the image as given: a red cell at 0.36 µm/px."""

LARGEST_RADIUS_PX = 110.0
"""In the image as given: a red cell at 0.032 µm/px."""

LARGEST_SHARE = 0.155
"""Largest radius over the shorter side: with fewer than three cells across, the one circle to be
seen may be the white cell that the image was cut out for."""

CLOSE_SHARE = 0.3
"""The same where only what has the hue of red cells votes."""

CLOSE_RADIUS_PX = 220.0
"""The same in px: a red cell at 0.016 µm/px."""

RED_SHARE = 0.5
"""Share of the red cells' density from which a pixel is one of theirs."""

RADIUS_STEP = 2 ** (1 / 6)
"""Neighbouring radii differ by 12 %, about the variation of red cells on one slide."""

FLANK = 5
"""Steps to both sides, a factor of 1.8, by which a peak must have come down: fine texture lifts
all small radii together."""

VOTING_RADIUS_PX = 10.0
"""Long enough for a sharp direction, short enough to be quick."""

WINDOW_PX = 420
"""Side of the central part that votes: 21 red cells across."""

VOTE_BLUR = 0.1
"""Sigma of a vote, as a share of the radius: red cells are not quite round."""

SURROUND_BLUR = 0.8
"""Sigma, as a share of the radius, over which chance votes are averaged and taken off."""

OUTLINE_SHARE = 0.25
"""Share of all pixels, the steepest, that vote. Equal votes: a dark cell is not rounder."""

NUCLEUS = 0.12
"""Optical density by which red and green exceed half of blue in nuclei, never in red cells."""

FEWEST_VOTES = 100
"""With fewer outline points there is nothing to see."""


@dataclass(frozen=True, slots=True)
class CommonCircle:
    """The radius at which most outlines agree.

    radius : px of the image as given.
    contrast : agreement at this radius over that at 1.8 times smaller and larger ones.
    width : natural-log half-width of the peak where it has lost a tenth; wide is uncertain.
    """

    radius: float
    contrast: float
    width: float


def common_circle(pixels: NDArray[np.uint8], *, close: bool = False) -> CommonCircle | None:
    """Measure the most common radius of round, stained, nucleus-free outlines.

    Parameters
    ----------
    pixels : uint8 (H, W, 3) RGB.
    close : look for cells so large that the field holds few, most of them cut by its edge; only
        what has the hue of red cells counts.

    Returns
    -------
    None when no radius stands out, or only the smallest or largest that can be examined.
    """
    radii, heights = agreement(pixels, close=close)
    if len(radii) < 3:
        return None
    # The ends are no peaks: what lies beyond them is not known.
    below, at, above = heights[:-2], heights[1:-1], heights[2:]
    inner = np.flatnonzero((at > below) & (at >= above) & (below > 0) & (above > 0)) + 1
    if not len(inner):
        return None
    contrasts = _contrasts(heights)
    best = int(inner[contrasts[inner].argmax()])
    logs = np.log(np.maximum(heights, 1e-6))
    low, top, high = logs[best - 1], logs[best], logs[best + 1]
    bend = 2 * top - low - high
    offset = float(np.clip((high - low) / (2 * max(bend, 1e-6)), -0.5, 0.5))
    step = np.log(RADIUS_STEP)
    return CommonCircle(
        radius=float(radii[best] * np.exp(offset * step)),
        contrast=float(contrasts[best]),
        width=float(step * np.sqrt(0.2 / max(bend, 1e-3))),
    )


def _contrasts(heights: Float64) -> Float64:
    """Divide each height by the geometric mean of those FLANK steps smaller and larger."""
    examined = np.flatnonzero(heights > 0)
    at = np.arange(len(heights))
    smaller = heights[np.clip(at - FLANK, examined[0], examined[-1])]
    larger = heights[np.clip(at + FLANK, examined[0], examined[-1])]
    return np.asarray(heights / np.sqrt(smaller * larger), dtype=np.float64)


def agreement(pixels: NDArray[np.uint8], *, close: bool = False) -> tuple[Float64, Float64]:
    """Return the radii that were tried, px, and how well the outlines agree at each, both (R,)."""
    height, width = pixels.shape[:2]
    shrink = max(1.0, max(height, width) / LARGEST_SIDE_PX)
    if shrink > 1:
        size = (round(width / shrink), round(height / shrink))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    density = np.asarray(np.clip(optical_density(pixels), -0.1, 1), dtype=np.float32)
    red_cells = red_cells_of(density)
    if close and red_cells is None:
        return np.zeros(0), np.zeros(0)
    share, most = (CLOSE_SHARE, CLOSE_RADIUS_PX) if close else (LARGEST_SHARE, LARGEST_RADIUS_PX)
    largest = min(most, share * min(height, width))
    count = int(np.log(max(largest / SMALLEST_RADIUS_PX, 0.1)) / np.log(RADIUS_STEP)) + 1
    radii = SMALLEST_RADIUS_PX * RADIUS_STEP ** np.arange(max(count, 0), dtype=np.float64)
    heights = [_agreement_at(density, radius / shrink, red_cells, close) for radius in radii]
    return radii, np.array(heights, dtype=np.float64)


def _agreement_at(
    density: Float32, radius: float, red_cells: RedCells | None, close: bool
) -> float:
    """Sum of squared vote density per vote, for one radius in px of `density`."""
    bluest = bluest_nucleus(red_cells)
    planes = _window(density, radius / VOTING_RADIUS_PX)
    red, green, blue = (cv2.GaussianBlur(plane, (0, 0), 1.0) for plane in planes)
    stain = 0.5 * np.maximum(green, 0) + np.maximum(blue, 0)  # red cells absorb blue most
    across, down = cv2.Sobel(stain, cv2.CV_32F, 1, 0), cv2.Sobel(stain, cv2.CV_32F, 0, 1)
    steepness = cv2.magnitude(across, down)
    nucleus = np.minimum(red, green) - 0.5 * np.maximum(blue, 0) > NUCLEUS
    if bluest < BLUEST:
        nucleus &= blue < bluest * green
    near_nucleus = cv2.dilate(nucleus.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    threshold = float(np.quantile(steepness, 1 - OUTLINE_SHARE))
    voters = (steepness > threshold) & ~near_nucleus
    if close and red_cells is not None:
        red = (stain > 0.5 * RED_SHARE * red_cells.density) & (blue > bluest * green)
        voters &= cv2.dilate(red.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    rows, columns = np.nonzero(voters)
    if len(rows) < FEWEST_VOTES:
        return 0.0
    reach = VOTING_RADIUS_PX / steepness[voters]
    margin = int(VOTING_RADIUS_PX) + 2  # votes may fall outside the window
    x = np.rint(columns + across[voters] * reach).astype(np.int64) + margin
    y = np.rint(rows + down[voters] * reach).astype(np.int64) + margin
    shape = (stain.shape[0] + 2 * margin, stain.shape[1] + 2 * margin)
    flat = np.bincount(y * shape[1] + x, minlength=shape[0] * shape[1])
    counts = flat.reshape(shape).astype(np.float32)
    votes = cv2.GaussianBlur(counts, (0, 0), VOTE_BLUR * VOTING_RADIUS_PX)
    chance = cv2.GaussianBlur(votes, (0, 0), SURROUND_BLUR * VOTING_RADIUS_PX)
    piled = np.maximum(votes - chance, 0).astype(np.float64)
    return float((piled**2).sum() / len(rows))


def _window(density: Float32, shrink: float) -> Float32:
    """Cut the middle and resize it, so that a radius becomes VOTING_RADIUS_PX long."""
    height, width = density.shape[1:]
    side = round(WINDOW_PX * shrink)
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    parts = density[:, top : top + side, left : left + side]
    size = (max(8, round(parts.shape[2] / shrink)), max(8, round(parts.shape[1] / shrink)))
    how = cv2.INTER_AREA if shrink > 1 else cv2.INTER_LINEAR
    resized = [cv2.resize(part, size, interpolation=how) for part in parts]
    return np.asarray(np.stack(resized), dtype=np.float32)
