"""Tell whether a slide looks like the images the model was made for.

Each frame is described by a few numbers in groups: light, stain, texture, size, focus, features. A
slide is the median of its frames. Its distance from the slides the model was made on (Mahalanobis,
per group) is compared with the largest distance those slides keep among themselves. One published
model fell from 0.95 to 0.47 on another laboratory's stain without noticing; this notices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.detail import bands_of
from edgeapl.stages.findings import Code, Effect, Finding
from edgeapl.stages.focus import focus_measure
from edgeapl.types import Detections, Float32, Frame, Int64, UInt8
from edgeapl.wording.numbers import above

Float64 = NDArray[np.float64]

FEWEST_CELLS = 20
"""Below this the medians say too little about a slide to trust the model on it."""

GROUP_WORDS = {
    "light": "the colour of the empty field",
    "texture": "how stain is spread within the cells",
    "stain": "the stain",
    "size": "the size of the cells",
    "focus": "the sharpness of the images",
    "features": "the look of the cells to the network",
    "detail": "the fine detail of the images",
}

RESOLUTION = {
    "light": 0.01,
    "stain": 0.005,
    "texture": 0.01,
    "size": 0.02,
    "focus": 0.05,
    "detail": 0.05,
}
"""Differences of a descriptor that say nothing: two or three grey levels of a camera in the
colours, what another choice of cells changes in the others. Some cameras give every slide the same
light, and then one grey level must not make a slide foreign."""

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
        """Give the descriptor of the same frame once more of its cells are scored."""
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
        """Give a percentile, linear between neighbours, as numpy does by default."""
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


def cells_of(frames: Sequence[FrameDescriptor]) -> int:
    """Count the cells that frames were described by."""
    return sum(frame.cells for frame in frames)


def describe_slide(frames: Sequence[FrameDescriptor]) -> dict[str, Float64]:
    """Median over the frames of a slide, each frame counted once per scored cell."""
    names = frames[0].values
    return {
        name: _weighted_median(
            np.stack([frame.values[name] for frame in frames]),
            np.array([frame.cells for frame in frames]),
        )
        for name in names
    }


def _weighted_median(rows: Float64, weights: NDArray[np.int64]) -> Float64:
    order = np.argsort(rows, axis=0, kind="stable")
    sums = np.cumsum(weights[order], axis=0)
    at = (sums >= sums[-1] / 2).argmax(axis=0)
    picked = np.take_along_axis(order, at[None], axis=0)
    return np.asarray(np.take_along_axis(rows, picked, axis=0)[0])


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Where the model's own slides lie: mean (D,), inverse covariance (D, D), largest distance."""

    mean: Float64
    precision: Float64
    limit: float

    def distance(self, value: Float64) -> float:
        away = value - self.mean
        return float(np.sqrt(np.maximum(away @ self.precision @ away, 0)))


class DomainModel:
    """The slides a model was made for, as a distribution per group."""

    def __init__(self, groups: dict[str, _Group]) -> None:
        self._groups = groups

    @classmethod
    def fit(
        cls,
        slides: Sequence[dict[str, Float64]],
        held_back: Sequence[dict[str, Float64]],
        *,
        percentile: float = 99.5,
        margin: float = 1.1,
    ) -> DomainModel:
        """Learn from slides, and set the limits on others.

        Parameters
        ----------
        slides : descriptors (`describe_slide`) that means and covariances are taken from.
        held_back : other slides; the given percentile of their distance times `margin` is the
            limit.
        """
        groups = {}
        for name in slides[0]:
            rows = np.stack([slide[name] for slide in slides])
            mean = np.asarray(rows.mean(axis=0))
            precision = np.asarray(np.linalg.inv(_shrunk_covariance(rows - mean)), np.float64)
            free = _Group(mean, precision, 0.0)
            distances = [free.distance(slide[name]) for slide in held_back]
            limit = float(np.percentile(distances, percentile)) * margin
            groups[name] = _Group(mean, precision, limit)
        return cls(groups)

    @classmethod
    def fit_few(cls, slides: Sequence[dict[str, Float64]], *, inside: float = 0.995) -> DomainModel:
        """Learn from a few slides, and set the limits by leaving each of them out in turn.

        Parameters
        ----------
        slides : descriptors (`describe_slide`), 3 or more; groups without numbers are left out.
        inside : share of further slides of the same kind that each limit lets pass.

        The distance of the slide left out is what a new slide would have. A limit is the
        prediction limit for one more distance: distances to the power 2/3 are nearly normal
        (Wilson and Hilferty 1931), so it is their mean and t(n - 1) deviations times
        sqrt(1 + 1/n). The fewer the slides, the wider: five give twice the limit of fifty. It is
        never less than it would be if the covariance were known exactly.
        """
        groups = {}
        for name in slides[0]:
            rows = np.stack([slide[name] for slide in slides])
            if not rows.shape[1]:
                continue
            fuzzy = RESOLUTION.get(name, 0.0)
            left_out = np.array([_distance_of(row, rows, fuzzy) for row in range(len(rows))])
            limit = _prediction_limit(left_out, inside)
            if fuzzy:
                limit = max(limit, _known_limit(rows.shape[1], inside))
            mean = np.asarray(rows.mean(axis=0))
            covariance = _shrunk_covariance(rows - mean, fuzzy)
            groups[name] = _Group(mean, np.asarray(np.linalg.inv(covariance), np.float64), limit)
        return cls(groups)

    def distances(self, slide: dict[str, Float64]) -> dict[str, tuple[float, float]]:
        """Give (distance, limit) per group that both the model and the slide have."""
        known = {n: g for n, g in self._groups.items() if n in slide}
        return {n: (g.distance(slide[n]), g.limit) for n, g in known.items()}

    def judge(self, frames: Sequence[FrameDescriptor]) -> tuple[Finding, ...]:
        """Say which groups are outside; a slide with too few cells cannot be told."""
        return self.judge_slide(cells_of(frames), describe_slide(frames) if frames else {})

    def judge_slide(self, cells: int, slide: dict[str, Float64]) -> tuple[Finding, ...]:
        """Do the same with a slide that was described. cells : it was described by."""
        if cells < FEWEST_CELLS:
            text = f"{cells} cells are too few to tell whether the images suit the model"
            return (Finding("domain_unknown", text, Effect.UNTRUSTED),)
        findings = []
        if "detail" in slide and "detail" not in self._groups:
            text = (
                "this bundle does not know how sharp images of single cells are, so it can clear "
                "none of them: run edgeapl calibrate --crops"
            )
            findings.append(Finding(Code.DETAIL_UNKNOWN, text, Effect.BARS_CLEAR))
        for name, (distance, limit) in self.distances(slide).items():
            if not distance <= limit:
                far, most = above(distance, limit)
                text = (
                    f"{GROUP_WORDS[name]} is unlike the images this model was made for "
                    f"(distance {far}, limit {most})"
                )
                # A blurred cell still raises an alarm, it only cannot be cleared.
                effect = Effect.BARS_CLEAR if name == "detail" else Effect.UNTRUSTED
                findings.append(Finding(f"domain_{name}", text, effect))
        return tuple(findings)

    def save(self, file: Path | BinaryIO) -> None:
        """Write an .npz file."""
        arrays: dict[str, Float64] = {}
        for name, group in self._groups.items():
            arrays[f"{name}_mean"] = group.mean
            arrays[f"{name}_precision"] = group.precision
            arrays[f"{name}_limit"] = np.array(group.limit)
        np.savez(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, file: Path | BinaryIO) -> DomainModel:
        """Read what `save` wrote; nothing in the file is executed."""
        with np.load(file, allow_pickle=False) as arrays:
            names = [key.removesuffix("_mean") for key in arrays.files if key.endswith("_mean")]
            return cls(
                {
                    name: _Group(
                        arrays[f"{name}_mean"],
                        arrays[f"{name}_precision"],
                        float(arrays[f"{name}_limit"]),
                    )
                    for name in names
                }
            )


def _distance_of(row: int, rows: Float64, fuzzy: float) -> float:
    """Distance of one slide from all others."""
    others = np.delete(rows, row, axis=0)
    mean = others.mean(axis=0)
    away = rows[row] - mean
    return float(np.sqrt(away @ np.linalg.solve(_shrunk_covariance(others - mean, fuzzy), away)))


def _prediction_limit(distances: Float64, inside: float) -> float:
    count = len(distances)
    even = distances ** (2 / 3)
    steps = _t_quantile(inside, count - 1) * np.sqrt(1 + 1 / count)
    limit: float = float(even.mean() + steps * even.std(ddof=1))
    return math.pow(limit, 1.5)


def _known_limit(size: int, inside: float) -> float:
    """Limit of the distance of a normal vector: root of the chi square quantile, as above."""
    spread = 2 / (9 * size)
    z = NormalDist().inv_cdf(inside)
    return math.sqrt(size * math.pow(1 - spread + z * math.sqrt(spread), 3))


def _t_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t (Abramowitz and Stegun 26.7.5); within 2 % from 4 degrees on."""
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / math.pow(freedom, power + 1) for power, term in enumerate(terms))


def _shrunk_covariance(centred: Float64, fuzzy: float = 0.0) -> Float64:
    """Covariance shrunk towards a multiple of the identity (Ledoit and Wolf 2004, eq. 14).

    fuzzy : deviation that is added to every number, because it says nothing.
    """
    count, size = centred.shape
    sample = centred.T @ centred / count
    scale = float(np.trace(sample)) / size
    target = scale * np.eye(size)
    away = float(((sample - target) ** 2).sum())
    # The sum over rows of |row row' - sample|² / count², from the products of the rows alone.
    products = (centred @ centred.T) ** 2
    noise = float(np.trace(products) - products.sum() / count) / count**2
    weight = 1.0 if away == 0 else min(1.0, noise / away)
    # A floor, so that a descriptor that never varied does not make every slide foreign.
    floor = 1e-6 * max(scale, 1e-12) + 1e-12 + fuzzy**2
    return np.asarray((1 - weight) * sample + weight * target + floor * np.eye(size))
