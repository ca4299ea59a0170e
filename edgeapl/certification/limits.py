"""Learn then test: the highest limit below which few positive patients are cleared.

Angelopoulos, Bates, Candès, Jordan and Lei 2021 (arXiv:2110.01052), fixed-sequence testing. The
limits to be tested are fixed before anybody looks at the slides: thousandths, strictest first. At
each limit the hypothesis "more than alpha of the positive patients would be cleared" is tested with
the exact binomial p-value; the first one that is not rejected ends the sequence. So in at most 1 -
confidence of all cohorts the chosen limit clears more than alpha, however the scores are
distributed and tied, and whatever share of slides is positive: only the positive ones count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.intervals import binomial, exact_upper

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

STEPS = 1000
"""Limits are multiples of a thousandth."""

ALPHA = 0.05
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Risk:
    """The accepted error, and the confidence in it.

    alpha : largest share of positive patients that may be cleared. confidence : 0 to 1.
    """

    alpha: float = ALPHA
    confidence: float = CONFIDENCE

    def most_cleared(self, patients: int) -> int:
        """Return how many of `patients` positive ones may be cleared; -1 if even none is too many.

        This is the largest k for which P(Binomial(patients, alpha) <= k) is at most 1 - confidence.
        """
        most, total = -1, 0.0
        for cleared in range(patients + 1):
            total += binomial(cleared, patients, self.alpha)
            if total > 1 - self.confidence:
                break
            most = cleared
        return most

    def bound(self, cleared: int, patients: int) -> float:
        """Return the exact upper bound of the share cleared (Clopper and Pearson 1934), 0 to 1."""
        return exact_upper(cleared, patients, self.confidence)

    def missing(self, cleared: int, patients: int) -> int:
        """Return how many more positive patients are needed, if none of them is cleared."""
        more = 0
        while self.most_cleared(patients + more) < cleared:
            more += 1
        return more


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that passed. value : slides below may be cleared. cleared : positive patients so."""

    value: float
    cleared: int


def limit_sequence(highest: float) -> Float64:
    """Return the limits in the order of testing, up to the rule's own, float64 (L,)."""
    return np.arange(1, math.floor(highest * STEPS + 1e-9) + 1) / STEPS


def highest_limit(scores: Float64, risk: Risk, highest: float) -> Limit | None:
    """Return the last limit for which it and all before it pass; None if not even the first does.

    Parameters
    ----------
    scores : float64 (P,), for each positive patient the lowest upper end of a slide that the rule
        would clear; infinite for patients of whom it clears no slide.
    highest : the rule's own limit.
    """
    limits = limit_sequence(highest)
    cleared = cleared_below(scores, limits)
    passed = cleared <= risk.most_cleared(len(scores))
    count = len(limits) if passed.all() else int(passed.argmin())
    if not count:
        return None
    return Limit(float(limits[count - 1]), int(cleared[count - 1]))


def cleared_below(scores: Float64, limits: Float64) -> Int64:
    """Count the patients that would be cleared at each limit, int64 (L,)."""
    return np.searchsorted(np.sort(scores), limits, side="left").astype(np.int64)
