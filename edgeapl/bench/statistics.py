"""Percentiles that state whether their samples suffice, and ratios with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PERCENTS = (50, 90, 99)

CONFIDENCE = 0.95
"""Confidence of a percentile's upper bound. MLPerf's LoadGen uses 0.99 (early stopping), which
takes 459 samples for p99; 0.95 takes 299, half an hour at the seven seconds of a full frame.
"""

RESAMPLES = 2000
"""Bootstrap resamples; each end of a 95 % interval then rests on 50 of them (Efron 1993)."""


LEAST_PAIRS = 5
"""Fewer pairs give too few different resamples (35 of four) for the ends of an interval."""


@dataclass(frozen=True, slots=True)
class Percentile:
    """One percentile of some samples.

    percent : 50 for the median. value : the sample at that rank (nearest rank), seconds.
    at_most : a sample that the true percentile does not exceed, with `CONFIDENCE`; None if there
        are too few samples for such a bound, and the percentile is then INVALID.
    needs : number of samples from which there is one.
    """

    percent: int
    value: float
    at_most: float | None
    needs: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of samples; all times in seconds."""

    count: int
    mean: float
    largest: float
    percentiles: tuple[Percentile, ...]

    @property
    def too_few(self) -> tuple[str, ...]:
        """Which percentiles have too few samples, as text."""
        return tuple(
            f"p{one.percent} needs {one.needs} samples, there are {self.count}"
            for one in self.percentiles
            if one.at_most is None
        )

    def percentile(self, percent: int) -> float:
        """Return one percentile's value."""
        return next(one.value for one in self.percentiles if one.percent == percent)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Geometric mean of paired ratios, and its 95 % bootstrap interval; None for too few pairs."""

    value: float
    interval: tuple[float, float] | None
    pairs: int


def samples_needed(percent: int, confidence: float = CONFIDENCE) -> int:
    """Return how many samples are needed for the largest to bound a percentile from above.

    All n samples are below the true percentile p with probability p^n; that must be at most
    1 - confidence (MLPerf LoadGen, early stopping with no sample above).
    """
    return math.ceil(math.log(1 - confidence) / math.log(percent / 100))


def summarise(samples: Sequence[float]) -> Summary | None:
    """Summarise samples; None without any. Raises ValueError for a value that is not finite."""
    if not samples:
        return None
    if not all(math.isfinite(sample) for sample in samples):
        raise ValueError("samples: expected finite numbers")
    ordered = sorted(samples)
    return Summary(
        count=len(ordered),
        mean=math.fsum(ordered) / len(ordered),
        largest=ordered[-1],
        percentiles=tuple(_percentile(ordered, percent) for percent in PERCENTS),
    )


def _percentile(ordered: Sequence[float], percent: int) -> Percentile:
    count = len(ordered)
    rank = max(1, math.ceil(percent / 100 * count))
    bound = bound_rank(count, percent)
    return Percentile(
        percent,
        ordered[rank - 1],
        None if bound is None else ordered[bound - 1],
        samples_needed(percent),
    )


def bound_rank(count: int, percent: int, confidence: float = CONFIDENCE) -> int | None:
    """Return the smallest rank, from 1, whose sample bounds a percentile from above; None if none.

    The number of samples below the true percentile is distributed like heads in `count` tosses of a
    coin that shows heads with p: the rank is chosen so that more heads are rarer than 1 -
    confidence.
    """
    share = percent / 100
    tail, rank = 0.0, None
    for heads in range(count, 0, -1):
        tail += math.exp(
            math.lgamma(count + 1)
            - math.lgamma(heads + 1)
            - math.lgamma(count - heads + 1)
            + heads * math.log(share)
            + (count - heads) * math.log1p(-share)
        )
        if tail > 1 - confidence:
            break
        rank = heads
    return rank


def paired_ratio(above: Sequence[float], below: Sequence[float], seed: int = 0) -> Ratio:
    """Return the geometric mean of ``above / below``, pair by pair, with its bootstrap interval.

    Pairs are measured next to each other, so that a slower machine slows both. Raises
    ValueError unless there is at least one pair of numbers above 0.
    """
    if len(above) != len(below) or not above or min(*above, *below) <= 0:
        raise ValueError("paired_ratio: expected pairs of numbers above 0")
    logs = np.log(np.asarray(above, np.float64) / np.asarray(below, np.float64))
    value = float(np.exp(logs.mean()))
    if len(logs) < LEAST_PAIRS:
        return Ratio(value, None, len(logs))
    random = np.random.default_rng(seed)
    rows = random.integers(0, len(logs), (RESAMPLES, len(logs)))
    low, high = np.exp(np.quantile(logs[rows].mean(axis=1), (0.025, 0.975)))
    return Ratio(value, (float(low), float(high)), len(logs))
