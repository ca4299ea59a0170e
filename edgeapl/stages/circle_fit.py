"""Fit a circle through points, some of which lie elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

TRIES = 60
"""Circles through three points, tried: with a quarter of the points elsewhere 10 would do."""

NEAR_PX, NEAR, FARTHEST = 1.0, 0.015, 0.04
"""A point lies on the circle when it is so near, in px or as a share of the radius; at a soft rim
up to the second share."""

FEWEST, LEAST_SHARE = 24, 0.7
"""Points that must lie on the circle, and their share."""

ROUNDS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Circle:
    """x, y, radius : px. degrees : float64 (N,), where on it points were found, 0 to 360."""

    x: float
    y: float
    radius: float
    degrees: Float64

    def scaled(self, factor: float) -> Circle:
        """Return the same circle in an image so much larger; pixels count from their middle."""
        x, y = (self.x + 0.5) * factor - 0.5, (self.y + 0.5) * factor - 0.5
        return Circle(x, y, self.radius * factor, self.degrees)


def fit_circle(points: Float64, largest: float, blur: float) -> Circle | None:
    """Return the circle that most points, float64 (N, 2) x y px, lie on; None where too few do.

    largest : radius that it may have. blur : px by which the points may lie off for their own sake.
    """
    if len(points) < FEWEST:
        return None
    random = np.random.default_rng(0)
    best: tuple[int, NDArray[np.bool_]] | None = None
    for _ in range(TRIES):
        circle = through(points[random.choice(len(points), 3, replace=False)])
        if circle is None or circle[2] > largest:
            continue
        near = _near(points, circle, blur)
        if best is None or near.sum() > best[0]:
            best = int(near.sum()), near
    if best is None:
        return None
    near = best[1]
    for _ in range(ROUNDS):
        circle = through(points[near])
        if circle is None or circle[2] > largest:
            return None
        near = _near(points, circle, blur)
        if near.sum() < max(FEWEST, LEAST_SHARE * len(points)):
            return None
    assert circle is not None
    x, y, radius = circle
    turned = np.rad2deg(np.arctan2(points[near, 1] - y, points[near, 0] - x)) % 360
    return Circle(x, y, radius, turned)


def through(points: Float64) -> tuple[float, float, float] | None:
    """Return x, y and radius of the least-squares circle (Kasa 1976); None for a straight line."""
    middle = points.mean(axis=0)
    x, y = (points - middle).T
    sides = np.stack([x, y, np.ones_like(x)], axis=1)
    found, _, rank, _ = np.linalg.lstsq(sides, x * x + y * y, rcond=1e-9)
    if rank < 3:
        return None
    squared = found[2] + (found[0] ** 2 + found[1] ** 2) / 4
    if squared <= 0:
        return None
    x0, y0 = found[:2] / 2 + middle
    return float(x0), float(y0), float(np.sqrt(squared))


def _near(points: Float64, circle: tuple[float, float, float], blur: float) -> NDArray[np.bool_]:
    x, y, radius = circle
    off = np.abs(np.hypot(points[:, 0] - x, points[:, 1] - y) - radius)
    return np.asarray(off <= max(NEAR_PX, NEAR * radius, min(blur, FARTHEST * radius)), dtype=bool)
