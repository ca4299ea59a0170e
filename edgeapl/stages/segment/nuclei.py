"""From optical densities to separate nuclei.

The published method thresholds the saturation channel (Manescu 2023). Saturation also rises in
red cells and in coloured light, so the index here is what makes a nucleus saturated: the stain
(azure, eosin) absorbs red *and* green but little blue, while red cells absorb green and blue,
refraction fringes red alone, dirt and pointers all three alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.segment.reconstruction import NEIGHBOURS, reconstructed
from edgeapl.stages.segment.red_cells import BLUEST
from edgeapl.types import Float32

Bool = NDArray[np.bool_]
Int32 = NDArray[np.int32]
Mask = NDArray[np.uint8]

GREEN_SHARE = 0.5
"""Weight of the green absorption beside the red: pale nuclei are seen best in green."""


VISIBLE = 0.06
"""Green optical density of the palest red cells."""

RED_CELL_BLUE = 0.5
"""Blue over green absorption: above it in red cells, whose haemoglobin has its peak in the blue."""

SMOOTHING = 1.25
"""Diameter, µm, of the disc by which outlines of nuclei are smoothed."""

MOST_LABELS = 65535
"""Labels of more do not fit in 16 bits."""

ROWS_AT_ONCE = 64

FEWEST_RED = 0.01
"""Share of the field that must be red cells before they set the threshold."""


@dataclass(frozen=True, slots=True)
class NucleusLimits:
    """How dark and how large; lengths in µm.

    faintest, usual, darkest : bounds of the threshold, index (optical density): lowest, where the
        field shows no red cells to go by, and highest.
    above_red : the threshold lies this much above the red cells of the same field.
    share : a nucleus ends where its index falls below this share of its neighbourhood's maximum.
    blur : noise is averaged over this sigma.
    opening : thinner structures (fringes, cell borders) are removed.
    reach : neighbourhood of the local maximum; about one nucleus.
    neck : touching nuclei are split where the way between them is narrower by this much (the h of
        the h-maxima transform on the distance map).
    """

    faintest: float = 0.10
    usual: float = 0.11
    darkest: float = 0.22
    above_red: float = 0.05
    share: float = 0.6
    blur: float = 0.4
    opening: float = 1.75
    reach: float = 5.0
    neck: float = 0.9


def smooth_density(density: Float32, um_per_px: float, limits: NucleusLimits) -> Float32:
    """Average optical densities, without their extremes, over the noise.

    Parameters
    ----------
    density : float32 (3, H, W), optical densities R G B.

    Returns
    -------
    float32 (3, H, W).
    """
    smooth = np.empty_like(density)
    for plane, out in zip(density, smooth, strict=True):
        np.clip(plane, -0.1, 1.2, out=out)
        cv2.GaussianBlur(out, (0, 0), limits.blur / um_per_px, dst=out)
    return smooth


def nucleus_index(smooth: Float32) -> Float32:
    """Return how much every pixel looks like stained nucleus.

    Parameters
    ----------
    smooth : float32 (3, H, W), of `smooth_density`; the index takes the place of its red.

    Returns
    -------
    float32 (H, W), optical density units.
    """
    red, green, blue = smooth
    # Fresh memory of this size costs more than the sums.
    index: Float32 = np.minimum(red, green, out=red)
    part = np.multiply(green, np.float32(GREEN_SHARE))
    index += part
    index -= np.maximum(blue, 0, out=part)
    return index


def leave_out_red_cells(index: Float32, smooth: Float32, bluest: float) -> None:
    """Set the index to 0 at most where the hue is that of red cells, in place.

    Parameters
    ----------
    index, smooth : float32 (H, W) of `nucleus_index`, float32 (3, H, W) of `smooth_density`.
    bluest : of `edgeapl.stages.segment.red_cells.bluest_nucleus`.
    """
    _, green, blue = smooth
    # A few rows at a time, as a product of full size would be one more plane in memory.
    for top in range(0, len(index), ROWS_AT_ONCE):
        rows = slice(top, top + ROWS_AT_ONCE)
        red_cells = blue[rows] > np.float32(bluest) * green[rows]
        np.minimum(index[rows], 0, out=index[rows], where=red_cells)


def nucleus_threshold(
    index: Float32, density: Float32, limits: NucleusLimits, bluest: float = BLUEST
) -> float:
    """Return the index from which a pixel may be nucleus, set by the red cells of the same field.

    Parameters
    ----------
    index, density : float32 (H, W) of `nucleus_index`, float32 (3, H, W).
    bluest : of `edgeapl.stages.segment.red_cells.bluest_nucleus`.
    """
    # Every fourth pixel is enough for a quantile.
    index, (_, green, blue) = index[::2, ::2], density[:, ::2, ::2]
    ratio = RED_CELL_BLUE if bluest >= BLUEST else bluest
    red_cells = index[(green > VISIBLE) & (blue > ratio * green)]
    if len(red_cells) < FEWEST_RED * index.size:
        return limits.usual
    # The darkest twentieth are edges of overlapping cells.
    level = float(np.quantile(red_cells, 0.95)) + limits.above_red
    return min(max(level, limits.faintest), limits.darkest)


def find_nuclei(index: Float32, threshold: float, um_per_px: float, limits: NucleusLimits) -> Int32:
    """Return a label image of nuclei and nuclear lobes, touching ones split.

    Parameters
    ----------
    index : float32 (H, W) of `nucleus_index`.
    threshold : of `nucleus_threshold`.

    Returns
    -------
    int32 (H, W); 0 is no nucleus.
    """
    opened = cv2.morphologyEx(index, cv2.MORPH_OPEN, disc(limits.opening, um_per_px))
    _, dark = cv2.threshold(opened, threshold, 0, cv2.THRESH_TOZERO)
    if not dark.any():
        return np.zeros(index.shape, dtype=np.int32)
    nearby = _highest_nearby(np.asarray(dark, dtype=np.float32), um_per_px, limits.reach)
    nearby *= np.float32(limits.share)
    mask = (dark > nearby).view(np.uint8)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disc(SMOOTHING, um_per_px))
    filled = fill_holes(np.asarray(closed, dtype=np.uint8))
    smooth = cv2.morphologyEx(filled, cv2.MORPH_OPEN, disc(SMOOTHING, um_per_px))
    return split_touching(np.asarray(smooth, dtype=np.uint8), um_per_px, limits.neck)


def _highest_nearby(index: Float32, um_per_px: float, reach: float) -> Float32:
    """Return the smoothed maximum within `reach` µm; at a quarter of the size, which is enough."""
    height, width = index.shape
    size = (max(1, width // 4), max(1, height // 4))
    small = cv2.resize(index, size, interpolation=cv2.INTER_AREA)
    highest = cv2.dilate(small, disc(2 * reach, 4 * um_per_px))
    smooth = cv2.GaussianBlur(highest, (0, 0), reach / 3 / (4 * um_per_px))
    return np.asarray(cv2.resize(smooth, (width, height)), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Heights:
    """One connected component of a mask.

    window : of the mask. own : bool (h, w), which of its pixels are this component's.
    heights : float32 (h + 2, w + 2), how far inside every pixel lies, µm.
    """

    window: tuple[slice, slice]
    own: Bool
    heights: Float32


def split_touching(mask: Mask, um_per_px: float, neck: float) -> Int32:
    """Split a mask where it narrows: h-maxima of the distance map, then watershed.

    mask : opened with a disc of `SMOOTHING`.

    h-maxima by morphological reconstruction (Soille 2003, section 6.3); only wiggles of the
    outline deeper than `neck` µm split.
    """
    components = _heights(mask, um_per_px)
    whole = [_has_one_top(component.heights) for component in components]
    broad = [component.heights for component, one in zip(components, whole, strict=True) if not one]
    lowered = iter(reconstructed([np.maximum(heights - neck, 0) for heights in broad], broad))
    labels = np.zeros(mask.shape, dtype=np.int32)
    used = 0
    for component, one in zip(components, whole, strict=True):
        parts, split = (
            (1, 1) if one else _split_component(component, next(lowered), um_per_px, neck)
        )
        np.copyto(labels[component.window], split + used, where=component.own)
        used += parts
    return labels


def _heights(mask: Mask, um_per_px: float) -> list[_Heights]:
    """Measure every connected component of a mask, in the order of their numbers."""
    # With labels of 16 bits this takes less than half the time.
    kind = cv2.CV_16U if _most_components(mask, um_per_px) <= MOST_LABELS else cv2.CV_32S
    _, components, stats, _ = cv2.connectedComponentsWithStats(mask, ltype=kind)
    found = []
    for number, (x, y, width, height) in enumerate(stats[1:, :4].tolist(), 1):
        window = (slice(y, y + height), slice(x, x + width))
        own = components[window] == number
        padded = cv2.copyMakeBorder(own.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
        distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5) * np.float32(um_per_px)
        smooth = cv2.GaussianBlur(distance, (0, 0), 0.5 / um_per_px)
        found.append(_Heights(window, own, np.asarray(smooth, dtype=np.float32)))
    return found


def _most_components(mask: Mask, um_per_px: float) -> int:
    """Return how many components an opened mask of this size can have at most.

    Two components never touch, so each has its disc to itself, and the pixels right of and below
    that.
    """
    smallest = np.pad(disc(SMOOTHING, um_per_px), 1)
    own = np.count_nonzero(cv2.dilate(smallest, np.ones((2, 2), np.uint8)))
    return int((mask.shape[0] + 1) * (mask.shape[1] + 1) // own)


def _split_component(
    component: _Heights, lowered: Float32, um_per_px: float, neck: float
) -> tuple[int, Int32 | int]:
    """Return the number of parts of one connected component, and every pixel's label from 1 up.

    lowered : its heights reconstructed from `neck` below them.
    """
    heights = component.heights
    peaks = (heights - lowered >= 0.98 * neck).view(np.uint8)
    peaks[1:-1, 1:-1] &= component.own
    peaks[[0, -1]] = peaks[:, [0, -1]] = 0
    count, markers = cv2.connectedComponents(peaks)
    if count <= 2:
        return 1, 1
    # Every part is a disc around its peak; a pixel goes to the disc it is least outside of. (The
    # watershed of OpenCV floods by colour differences, not by height, and gives ragged parts.)
    gaps = [
        cv2.distanceTransform((markers != part).astype(np.uint8), cv2.DIST_L2, 5)
        - float(heights[markers == part].max()) / um_per_px
        for part in range(1, count)
    ]
    nearest = np.argmin(np.stack(gaps), axis=0) + 1
    return count - 1, nearest[1:-1, 1:-1].astype(np.int32)


def _has_one_top(heights: Float32) -> bool:
    """Whether no pixel but those of one connected top is as high as all its neighbours.

    From everywhere a way then leads up to that top, so reconstruction finds the same one peak.
    """
    tops = (heights >= cv2.dilate(heights, NEIGHBOURS)) & (heights > 0)
    count, _ = cv2.connectedComponents(tops.view(np.uint8))
    return bool(count == 2)


def fill_holes(mask: Mask) -> Mask:
    """Fill everything that is enclosed."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros_like(mask), outlines, -1, 1, cv2.FILLED))


def disc(diameter_um: float, um_per_px: float) -> Mask:
    """Return a round structuring element of at least 3 px, odd in px."""
    side = max(3, 2 * round(diameter_um / um_per_px / 2) + 1)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), dtype=np.uint8)
