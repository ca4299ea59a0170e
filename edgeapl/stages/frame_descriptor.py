"""A frame in a few numbers: light, stain, texture, size, focus, and the features of its cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.detail import bands_of
from edgeapl.stages.focus import focus_measure
from edgeapl.types import Detections, Float32, Frame, Int64, UInt8

Float64 = NDArray[np.float64]

DESCRIBED_SIDE_PX = 512
"""Frames are shrunk to this for colour statistics; means do not change by it."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameDescriptor:
    """One frame in numbers.

    cells : cells that were scored. values : group name to float64 vector.
    found : whether the segmenter found a cell; False for an image of one cell in which it did not.
    """

    cells: int
    values: dict[str, Float64]
    found: bool = True

    def with_features(self, features: Float32) -> FrameDescriptor:
        """Return the descriptor of the same frame once more of its cells are scored."""
        mean = np.asarray(features.mean(axis=0), dtype=np.float64)
        return FrameDescriptor(len(features), {**self.values, "features": mean}, self.found)


def describe_frame(
    frame: Frame,
    detections: Detections,
    features: Float32,
    sharpness: float | None = None,
    *,
    single_cell: bool = False,
) -> FrameDescriptor:
    """Describe a frame.

    Parameters
    ----------
    frame, detections : the cells' label image gives cell and background pixels.
    features : float32 (N, D) of the scored cells.
    sharpness : `edgeapl.stages.focus.Edges.sharpness` of the frame, if it is known already.
    single_cell : the frame is an image of one cell; then it has the group `detail`,
        `edgeapl.stages.detail.bands_of`.

    Groups: `light`, the colour of the empty field; `stain`, mean optical densities of the cells
    against it; `texture`, how these spread within the cells; `size`, log area in µm²; `focus`, log
    width of the edges; `features`, the mean feature vector.
    """
    step = max(1, max(frame.height, frame.width) // DESCRIBED_SIDE_PX)
    pixels = np.ascontiguousarray(frame.pixels[::step, ::step])
    inside = (detections.labels[::step, ::step] > 0).view(np.uint8)
    # Camera pixels have 256 values a colour: counting them does for sums and percentiles.
    stains = []
    white = []
    for everywhere, in_cells in zip(_histograms(pixels), _histograms(pixels, inside), strict=True):
        white.append(_Spread(_GREYS, everywhere).percentile(95) + 1)
        density = -np.log10(np.minimum((_GREYS + 1) / white[-1], 1))
        stains.append(_Spread(density[::-1], in_cells[::-1]) if in_cells.any() else _NO_STAIN)
    red, green, blue = (stain.mean for stain in stains)
    areas = np.maximum(_sizes(detections), 1) * frame.um_per_px**2
    if sharpness is None:
        sharpness = focus_measure(frame.pixels, frame.um_per_px)
    detail = {"detail": bands_of(frame.pixels)} if single_cell else {}
    return FrameDescriptor(
        cells=len(features),
        values={
            **detail,
            "light": np.log(np.array([white[0] / white[1], white[2] / white[1]])),
            "stain": np.array([red, green, blue, red - blue]),
            "texture": np.array(
                [stain.percentile(q) for q in (10, 50, 90) for stain in stains[:2]]
            ),
            "size": np.array([float(np.median(np.log(areas))) if len(areas) else 0.0]),
            "focus": np.array([-np.log(max(sharpness, 0.1))]),
            "features": np.asarray(features.mean(axis=0), dtype=np.float64),
        },
        found=bool((detections.scores > 0).any()),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Spread:
    """Values, float64 (V,), ascending, and how often each occurs, int64 (V,)."""

    values: Float64
    counts: Int64

    @property
    def mean(self) -> float:
        """Mean of all."""
        return float(self.values @ self.counts) / int(self.counts.sum())

    def percentile(self, percent: float) -> float:
        """Return a percentile, linear between neighbours, as numpy does by default."""
        below = np.cumsum(self.counts)
        place = (int(below[-1]) - 1) * percent / 100
        low, high = math.floor(place), math.ceil(place)
        first, second = self.values[np.searchsorted(below, [low, high], side="right")]
        return float(first + (second - first) * (place - low))


_GREYS = np.arange(256, dtype=np.float64)
_NO_STAIN = _Spread(np.zeros(1), np.ones(1, dtype=np.int64))


def _histograms(pixels: UInt8, inside: UInt8 | None = None) -> list[Int64]:
    """Count the values of each colour, all or where `inside` is not 0."""
    counts = [cv2.calcHist([pixels], [colour], inside, [256], [0, 256]) for colour in range(3)]
    return [np.asarray(count, dtype=np.int64).ravel() for count in counts]


def _sizes(detections: Detections) -> Int64:
    """Count the pixels of each label, int64 (N,)."""
    if not len(detections):
        return np.empty(0, dtype=np.int64)
    # np.bincount would first make an int64 copy of the whole image. These float32 counts are exact
    # up to 16 million, more than any cell.
    bins = len(detections) + 1
    counts = cv2.calcHist([detections.labels], [0], None, [bins], [0, bins])
    return np.asarray(counts, dtype=np.int64).ravel()[1:]
