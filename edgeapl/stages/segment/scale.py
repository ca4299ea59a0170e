"""Measure µm per pixel from the cells of the image itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.segment.illumination import optical_density
from edgeapl.stages.segment.nuclei import GREEN_SHARE, NucleusLimits, fill_holes

RED_CELL_UM = 7.3
"""Mean diameter of a red cell on a dried, stained smear; 7.2 to 7.5 µm in textbooks (Bain 2015)."""

WORKING_PX = 640
"""Longer side of the image that is measured: red cells are 8 px or more in any smear field."""

SMALLEST_PX = 8
"""Smaller discs, at the working size, are noise."""

FEWEST = 3
"""Red cells that must agree before their size is believed."""

AGREEMENT = 0.15
"""Diameters within this natural-log distance are one size; red cells vary by about 7 % (RDW)."""

COVERED = 0.35
"""Share of the red-cell area that discs of one size must explain, else they are chance."""

CLUSTER_FACTOR = 1.11
"""Red cell over disc diameter: median of both measures on images that allow both."""

PALLOR = 0.6
"""A hole is a red cell's pallor while its radius stays below this share of the disc's."""


NUCLEUS_UM = 8.0
"""Mean diameter of a nucleus: lymphocyte 7, granulocytes and monocytes 8 to 10, blasts 10 to 12
µm (Bain 2015). A third wrong at worst, so it only serves where no red cell can be measured."""

WIDEST_RATIO = 2.0
"""A red cell is at most this much larger or smaller than a nucleus."""


class Evidence(IntEnum):
    """What a scale was measured on; the higher, the better."""

    NUCLEI = 0
    CLUSTERED_RED_CELLS = 1
    SEPARATE_RED_CELLS = 2


@dataclass(frozen=True, slots=True)
class ScaleEstimate:
    """A measured scale.

    um_per_px : µm per px.
    objects : how many agreed on it.
    evidence : what they were.
    """

    um_per_px: float
    objects: int
    evidence: Evidence


def measure_scale(pixels: NDArray[np.uint8]) -> ScaleEstimate | None:
    """Measure the scale of one image, or give None when nothing in it can be told.

    Parameters
    ----------
    pixels : uint8 (H, W, 3) RGB.
    """
    shrink = min(1.0, WORKING_PX / max(pixels.shape[:2]))
    small = pixels
    if shrink < 1:
        size = (round(pixels.shape[1] * shrink), round(pixels.shape[0] * shrink))
        small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    found = _measure(small)
    if found is None:
        return None
    um_per_px, objects, evidence = found
    return ScaleEstimate(um_per_px * shrink, objects, evidence)


def _measure(pixels: NDArray[np.uint8]) -> tuple[float, int, Evidence] | None:
    stained, nucleus = _masks(pixels)
    nuclei = _nucleus_diameters(nucleus)
    nucleus_px = _weighted_median(nuclei, nuclei**2) if len(nuclei) else None
    mask = _fill_pallor(stained)
    for evidence, diameters in (
        (Evidence.SEPARATE_RED_CELLS, separate_cells(mask)),
        (Evidence.CLUSTERED_RED_CELLS, CLUSTER_FACTOR * discs(mask)),
    ):
        agreeing = _main_size(diameters)
        middle = float(np.median(agreeing)) if len(agreeing) else 0.0
        believed = len(agreeing) >= FEWEST and (
            evidence is Evidence.SEPARATE_RED_CELLS
            or _plausible(agreeing, middle, mask, nucleus_px)
        )
        if believed:
            return RED_CELL_UM / middle, len(agreeing), evidence
    if nucleus_px is None:
        return None
    return NUCLEUS_UM / nucleus_px, len(nuclei), Evidence.NUCLEI


def _plausible(
    diameters: NDArray[np.float64],
    middle: float,
    mask: NDArray[np.uint8],
    nucleus_px: float | None,
) -> bool:
    """Whether discs in clusters explain what is seen and fit to the nuclei beside them."""
    covered = np.pi / 4 * float((diameters**2).sum())
    fits = nucleus_px is None or 1 / WIDEST_RATIO < middle / nucleus_px < WIDEST_RATIO
    return fits and covered >= COVERED * float(mask.sum())


def separate_cells(mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Diameters, px, of the round areas that touch nothing."""
    height, width = mask.shape
    diameters = []
    for outline in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]:
        x, y, w, h = cv2.boundingRect(outline)
        cut = x == 0 or y == 0 or x + w == width or y + h == height
        area = cv2.contourArea(outline)
        hull = cv2.contourArea(cv2.convexHull(outline))
        round_enough = max(w, h) <= 1.3 * min(w, h) and area >= max(0.92 * hull, 0.7 * w * h)
        if not cut and min(w, h) >= SMALLEST_PX and round_enough:
            diameters.append(2 * np.sqrt(area / np.pi))
    return np.array(diameters, dtype=np.float64)


def discs(stained: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Diameters, px, of the discs that an area is made of.

    Every maximum of the distance map is the centre of a disc, and all those on one smear are about
    equally large. Cells cover each other's edges, so the discs are smaller than the cells.
    """
    padded = np.pad(stained, 1, mode="edge")  # a cell cut by the frame is no smaller for it
    distance = cv2.GaussianBlur(cv2.distanceTransform(padded, cv2.DIST_L2, 5), (0, 0), 1.0)
    distance = distance[1:-1, 1:-1]
    reach = np.ones((7, 7), np.uint8)
    peaks = (distance >= cv2.dilate(distance, reach)) & (distance >= SMALLEST_PX / 2)
    count, labels = cv2.connectedComponents(peaks.astype(np.uint8))
    rows, columns = np.nonzero(peaks)
    radii = np.zeros(count)
    np.maximum.at(radii, labels[rows, columns], distance[rows, columns])
    inner = np.ones(count, dtype=bool)
    height, width = stained.shape
    margin = radii[labels[rows, columns]]
    cut = (
        (rows < margin) | (columns < margin) | (rows > height - margin) | (columns > width - margin)
    )
    inner[labels[rows[cut], columns[cut]]] = False
    inner[0] = False
    return np.asarray(2 * radii[inner], dtype=np.float64)


def _masks(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Stained but no nucleus (green absorbed, red let through); and nuclei."""
    density = cv2.GaussianBlur(optical_density(pixels), (0, 0), 1.0)
    red, green, blue = density[..., 0], density[..., 1], density[..., 2]
    visible = (np.clip(green, 0, 0.6) * 400).astype(np.uint8)
    level, _ = cv2.threshold(visible, 0, 255, cv2.THRESH_OTSU)
    nucleus = np.minimum(red, green) + GREEN_SHARE * green - np.maximum(blue, 0)
    dark = nucleus > NucleusLimits().faintest
    stained = (visible > max(0.6 * level, 10)) & ~dark
    strong = nucleus > max(0.4 * float(np.quantile(nucleus, 0.995)), NucleusLimits().faintest)
    return stained.astype(np.uint8), strong.astype(np.uint8)


def _fill_pallor(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill the holes that are central pallor, not those between cells."""
    filled = fill_holes(mask)
    holes = (filled - mask).astype(np.uint8)
    distance = cv2.distanceTransform(np.pad(filled, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(holes)
    result = mask.copy()
    deepest = np.zeros(count)
    np.maximum.at(deepest, labels.ravel(), distance.ravel())
    radius = np.sqrt(stats[:, cv2.CC_STAT_AREA] / np.pi)
    pallor = radius <= PALLOR * deepest
    pallor[0] = False
    result[pallor[labels]] = 1
    return result


def _nucleus_diameters(mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Diameters, px: the mean of two discs, one as large as the piece, one that fits into it.

    The first is too large where nuclei touch, the second too small where one is lobed.
    """
    closed = fill_holes(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
    distance = cv2.distanceTransform(np.pad(closed, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    fitting = np.zeros(count)
    np.maximum.at(fitting, labels.ravel(), 2 * distance.ravel())
    filling = np.sqrt(4 / np.pi * stats[:, cv2.CC_STAT_AREA])
    diameters = np.sqrt(fitting * filling)[1:]
    return np.asarray(diameters[diameters >= SMALLEST_PX], dtype=np.float64)


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(sums, sums[-1] / 2)])


def _main_size(diameters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep the diameters of the most frequent size: platelets are smaller, clumps larger."""
    if not len(diameters):
        return diameters
    near = np.abs(np.log(diameters[:, None] / diameters[None])) < AGREEMENT
    # Weighted by area, so that a swarm of platelets does not outvote the red cells.
    votes = near.sum(axis=1) * diameters**2
    return diameters[near[int(votes.argmax())]]
