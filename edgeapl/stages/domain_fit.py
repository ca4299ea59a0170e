"""Learn which slides a model is made for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.domain import DomainGroup, DomainModel

Float64 = NDArray[np.float64]

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


def fit_domain_model(
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
        free = DomainGroup(mean, precision, 0.0)
        distances = [free.distance(slide[name]) for slide in held_back]
        limit = float(np.percentile(distances, percentile)) * margin
        groups[name] = DomainGroup(mean, precision, limit)
    return DomainModel(groups)


def fit_domain_model_to_few(
    slides: Sequence[dict[str, Float64]], *, inside: float = 0.995
) -> DomainModel:
    """Learn from a few slides, and set the limits by leaving out one of them at a time.

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
        groups[name] = DomainGroup(mean, np.asarray(np.linalg.inv(covariance), np.float64), limit)
    return DomainModel(groups)


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
