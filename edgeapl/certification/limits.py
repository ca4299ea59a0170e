"""Learn then test: the highest limit below which few positive patients are cleared.

Angelopoulos, Bates, Candès, Jordan and Lei 2021 (arXiv:2110.01052), fixed-sequence testing. The
limits to be tested are fixed before anybody looks at the slides: thousandths, from the strictest
on. At each the hypothesis "more than alpha of the positive patients would be cleared" is tested
with the exact binomial p-value, and the first one that is not refuted ends the sequence. So in at
most 1 - confidence of all cohorts a limit is given that clears more than alpha, however the scores
are spread and tied, and whatever share of the slides is positive: only the positive ones count.
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
"""Limits are whole thousandths."""

ALPHA = 0.05
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Risk:
    """What may be wrong, and how surely not more.

    alpha : largest share of positive patients that may be cleared. confidence : 0 to 1.
    """

    alpha: float = ALPHA
    confidence: float = CONFIDENCE

    def most_cleared(self, patients: int) -> int:
        """Give how many of so many positive patients may be cleared; -1 where none may be known.

        The largest k for which P(Binomial(patients, alpha) <= k) is at most 1 - confidence.
        """
        most, total = -1, 0.0
        for cleared in range(patients + 1):
            total += binomial(cleared, patients, self.alpha)
            if total > 1 - self.confidence:
                break
            most = cleared
        return most

    def bound(self, cleared: int, patients: int) -> float:
        """Give the exact upper bound of the share cleared (Clopper and Pearson 1934), 0 to 1."""
        return exact_upper(cleared, patients, self.confidence)

    def missing(self, cleared: int, patients: int) -> int:
        """Give how many more positive patients it takes, if none of these is cleared."""
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
    """Give the limits in the order in which they are tested, up to the rule's own, float64 (L,)."""
    return np.arange(1, math.floor(highest * STEPS + 1e-9) + 1) / STEPS


def highest_limit(scores: Float64, risk: Risk, highest: float) -> Limit | None:
    """Give the highest limit that all limits up to it have passed; None when not even one has.

    Parameters
    ----------
    scores : float64 (P,), per positive patient the lowest upper end of a slide that the rule would
        clear; infinite for patients of whom it clears no slide.
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
