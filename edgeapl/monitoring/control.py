"""Control charts: when a run of slides has left where it was.

An exponentially weighted moving average (EWMA; Roberts 1959, Lucas and Saccucci 1990) of numbers
that are standard normal while nothing changes. docs/monitor.md
says how soon they alarm, measured by `tests.simulations.control_charts`.
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
"""Share of slides like the model's own that the limit of a distance lets pass, as calibrated."""

BASELINE = 30
"""First slides that later ones are compared with, where the bundle has no reference itself."""

FEWEST = 2 * BASELINE // 3
"""Slides of which a baseline is made at least."""


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """One control chart, a point per slide.

    values : as measured, float64 (N,). average : the EWMA of their standardised values, float64
    (N,). low, high : its limits; low is minus infinity where only more is bad.
    baseline : how many of the first slides made the reference; 0 where the bundle is the reference.
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
        """Places where the average leaves its limits, the first of each run."""
        out = (self.average > self.high) | (self.average < self.low)
        begins = out & ~np.concatenate([[False], out[:-1]])
        return tuple(np.flatnonzero(begins).tolist())

    def direction(self, place: int) -> str:
        """Say which way a value went."""
        return "above" if self.average[place] > self.high else "below"


def distance_chart(name: str, distances: Sequence[tuple[float, float]], size: int) -> Chart:
    """Chart the distance of each slide from those that the model was made for.

    Parameters
    ----------
    distances : (distance, limit) per slide. size : numbers that the distance is made of.

    The third root of a squared distance is nearly normal (Wilson and Hilferty 1931). The bundle's
    limit is where it lets 99.5 % of slides like its own pass, so it tells the scale.
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
    """Chart a value against the first slides of the station; None where these are too few.

    Values are ranked among the baseline's (van der Waerden scores), so that nothing is assumed of
    how they are spread.
    """
    given = np.asarray(values, dtype=np.float64)
    count = min(BASELINE, len(given) // 2)
    if count < FEWEST:
        return None
    limit = _limit() * math.sqrt(1 + 1 / (count * WEIGHT / (2 - WEIGHT)))
    average = ewma(normal_scores(given, given[:count]))
    return Chart(name, unit, given, average, -limit, limit, count)


def normal_scores(values: Float64, reference: Float64) -> Float64:
    """Give each value the normal quantile of its rank among the reference's, ties in the middle."""
    ranked = np.sort(reference)
    below = np.searchsorted(ranked, values, side="left")
    upto = np.searchsorted(ranked, values, side="right")
    shares = ((below + upto) / 2 + 0.5) / (len(ranked) + 1)
    return np.array([NormalDist().inv_cdf(float(share)) for share in shares])


def ewma(values: Float64) -> Float64:
    """Give the exponentially weighted moving average, begun at 0, float64 (N,)."""
    average, out = 0.0, []
    for value in values.tolist():
        average += WEIGHT * (value - average)
        out.append(average)
    return np.array(out, dtype=np.float64)


def _limit() -> float:
    return DEVIATIONS * math.sqrt(WEIGHT / (2 - WEIGHT))
