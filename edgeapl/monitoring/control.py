"""Control charts: when a series of slides has drifted.

An exponentially weighted moving average (EWMA; Roberts 1959, Lucas and Saccucci 1990) of numbers
that are standard normal while nothing changes. docs/monitor.md says how soon they alarm, as
measured by `tests.simulations.control_charts`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

WEIGHT = 0.2
DEVIATIONS = 3.1

INSIDE = 0.995
"""Share of slides like the model's own that the limit of a distance accepts, as calibrated."""

BASELINE = 30
"""First slides that later ones are compared with if the bundle has no reference itself."""

FEWEST = 2 * BASELINE // 3
"""Fewest slides that make a baseline."""


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """One control chart, a point per slide.

    values : as measured, float64 (N,). average : the EWMA of their standardised values, float64
    (N,). low, high : its limits; low is minus infinity if only an increase matters.
    baseline : how many of the first slides made the reference; 0 if the bundle is the reference.
    """

    name: str
    unit: str
    values: Float64
    average: Float64
    low: float
    high: float
    baseline: int

    @property
    def alarms(self) -> tuple[int, ...]:
        """Indices where the average leaves its limits, the first of each run."""
        out = (self.average > self.high) | (self.average < self.low)
        begins = out & ~np.concatenate([[False], out[:-1]])
        return tuple(np.flatnonzero(begins).tolist())

    def direction(self, place: int) -> str:
        """Return which way the value went at an alarm."""
        return "above" if self.average[place] > self.high else "below"


def distance_chart(name: str, distances: Sequence[tuple[float, float]], size: int) -> Chart:
    """Chart the distance of each slide from those that the model was made for.

    Parameters
    ----------
    distances : (distance, limit) per slide. size : how many numbers the distance is made of.

    The cube root of a squared distance is nearly normal (Wilson and Hilferty 1931). The bundle's
    limit is the 99.5 % quantile of slides like its own, which gives the scale.
    """
    pairs = np.asarray(distances, dtype=np.float64).reshape(-1, 2)
    spread = math.sqrt(2 / (9 * size))
    middle = 1 - spread**2
    top = middle + NormalDist().inv_cdf(INSIDE) * spread
    ratio = np.divide(pairs[:, 0], pairs[:, 1], out=np.zeros(len(pairs)), where=pairs[:, 1] > 0)
    standard = (ratio ** (2 / 3) * top - middle) / spread
    limit = _limit()
    return Chart(name, "of the limit", ratio, ewma(standard), -math.inf, limit, 0)


def value_chart(name: str, unit: str, values: Sequence[float]) -> Chart | None:
    """Chart a value against the first slides of the station; None if these are too few.

    Values are ranked among the baseline's (van der Waerden scores), so nothing is assumed about
    their distribution.
    """
    given = np.asarray(values, dtype=np.float64)
    count = min(BASELINE, len(given) // 2)
    if count < FEWEST:
        return None
    limit = _limit() * math.sqrt(1 + 1 / (count * WEIGHT / (2 - WEIGHT)))
    average = ewma(normal_scores(given, given[:count]))
    return Chart(name, unit, given, average, -limit, limit, count)


def normal_scores(values: Float64, reference: Float64) -> Float64:
    """Return for each value the normal quantile of its mid-rank among the reference's."""
    ranked = np.sort(reference)
    below = np.searchsorted(ranked, values, side="left")
    upto = np.searchsorted(ranked, values, side="right")
    shares = ((below + upto) / 2 + 0.5) / (len(ranked) + 1)
    return np.array([NormalDist().inv_cdf(float(share)) for share in shares])


def ewma(values: Float64) -> Float64:
    """Return the exponentially weighted moving average, starting at 0, float64 (N,)."""
    average, out = 0.0, []
    for value in values.tolist():
        average += WEIGHT * (value - average)
        out.append(average)
    return np.array(out, dtype=np.float64)


def _limit() -> float:
    return DEVIATIONS * math.sqrt(WEIGHT / (2 - WEIGHT))
