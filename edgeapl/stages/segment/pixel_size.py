"""Measure µm per pixel from the cells of the image itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.segment.circles import common_circle
from edgeapl.stages.segment.illumination import optical_density
from edgeapl.stages.segment.nuclei import NucleusLimits, nucleus_index, smooth_density

OUTLINE_UM = 7.0
"""Diameter at which the outline of a red cell on a dried, stained smear is steepest: 7.2 to 7.5 µm
is its visible diameter (Bain 2015), and 7.0 µm fits public images with a scale bar or a known scale
within 4 %."""

CONTRAST = 1.3
"""Least contrast of the common circle; noise and single cells stay below it."""

CALIBRATION_ERROR = 0.08
"""Natural-log standard deviation of the mean red-cell diameter between people and smears."""

FEW_ERROR = 0.25
"""What comes to that where few red cells are seen, most of them cut by the edge."""

WIDEST = 0.24
"""Width of the peak above which red cells differ too much, or are too blurred, for a measurement:
0.07 to 0.21 in fields that were measured well."""

NUCLEUS_UM = 8.0
"""Mean diameter of a nucleus: lymphocyte 7, granulocytes and monocytes 8 to 10, blasts 10 to 12
µm (Bain 2015). Only serves where no red cell can be measured."""

NUCLEUS_ERROR = 0.35
"""Natural-log standard deviation of that, by comparison with red cells in the same images."""

NUCLEUS_SIDE_PX = 640
"""Longer side of the image in which nuclei are measured."""

LOBE_GAP = 0.5
"""Lobes of one nucleus lie no farther apart than this share of their mean diameter."""

SMALLEST_NUCLEUS_PX = 8
"""Smaller spots, at that size, are noise or platelets."""

PLAUSIBLE_UM_PER_PX = (0.03, 0.4)
"""What 20x to 100x objectives and cameras give; a measurement outside is a mistake."""


class Evidence(IntEnum):
    """What a scale was measured on; the higher, the better.

    FEW_RED_CELLS : most of them cut by the edge, or so unlike that their size is uncertain.
    """

    NUCLEI = 0
    FEW_RED_CELLS = 1
    RED_CELLS = 2


@dataclass(frozen=True, slots=True)
class ScaleEstimate:
    """A measured scale.

    um_per_px : µm per px.
    error : standard deviation as a share of it.
    evidence : what it was measured on.
    """

    um_per_px: float
    error: float
    evidence: Evidence


def measure_scale(pixels: NDArray[np.uint8]) -> ScaleEstimate | None:
    """Measure the scale of one image, or give None when nothing in it tells.

    Parameters
    ----------
    pixels : uint8 (H, W, 3) RGB.
    """
    estimate = _of_red_cells(pixels) or _of_red_cells(pixels, close=True) or _of_nuclei(pixels)
    low, high = PLAUSIBLE_UM_PER_PX
    return estimate if estimate and low <= estimate.um_per_px <= high else None


def _of_red_cells(pixels: NDArray[np.uint8], *, close: bool = False) -> ScaleEstimate | None:
    """Close : the field holds so few that most are cut by its edge."""
    circle = common_circle(pixels, close=close)
    if circle is None or circle.contrast < CONTRAST:
        return None
    few = close or circle.width > WIDEST
    # The peak is as wide as the blur of the votes even if all cells are alike: half counts.
    error = float(np.linalg.norm([CALIBRATION_ERROR, circle.width / 2, FEW_ERROR * few]))
    evidence = Evidence.FEW_RED_CELLS if few else Evidence.RED_CELLS
    return ScaleEstimate(OUTLINE_UM / 2 / circle.radius, error, evidence)


def _of_nuclei(pixels: NDArray[np.uint8]) -> ScaleEstimate | None:
    diameter = nucleus_diameter(pixels)
    if diameter is None:
        return None
    return ScaleEstimate(NUCLEUS_UM / diameter, NUCLEUS_ERROR, Evidence.NUCLEI)


def nucleus_diameter(pixels: NDArray[np.uint8]) -> float | None:
    """Return the median diameter of the nuclei, px, each weighted by its area; None without any."""
    shrink = min(1.0, NUCLEUS_SIDE_PX / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * shrink)), max(1, round(pixels.shape[0] * shrink)))
    small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    # Without a scale, the blur cannot be given in µm; one pixel it is.
    index = nucleus_index(smooth_density(optical_density(small), 1.0, NucleusLimits(blur=1.0)))
    darkest = float(np.quantile(index, 0.995))
    mask = (index > max(0.4 * darkest, 0.15)).astype(np.uint8)
    diameters = _diameters(mask)
    if not len(diameters):
        return None
    order = np.argsort(diameters)
    sums = np.cumsum(diameters[order] ** 2)
    middle = diameters[order][np.searchsorted(sums, sums[-1] / 2)]
    return float(middle / shrink)


def _diameters(mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Diameters, px, of discs as large as each nucleus; lobes close together are one nucleus."""
    if not mask.any():
        return np.zeros(0)
    distance = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)
    # In a disc, the mean distance to the outline is a third of the radius.
    reach = 2 * round(LOBE_GAP * 3 * float(distance[distance > 0].mean())) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    count, labels = cv2.connectedComponents(cv2.dilate(mask, kernel))
    areas = np.bincount(labels.ravel(), weights=mask.ravel(), minlength=count)[1:]
    diameters = np.sqrt(4 / np.pi * areas)
    return np.asarray(diameters[diameters >= SMALLEST_NUCLEUS_PX], dtype=np.float64)
