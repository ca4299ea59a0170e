"""Confidence intervals of shares."""

from __future__ import annotations

import math
from statistics import NormalDist

from edgeapl.types import Interval


def wilson(positive: float, total: float, confidence: float) -> Interval:
    """Give the Wilson score interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22:209).

    Parameters
    ----------
    positive, total : 0 <= positive <= total; with total 0 nothing is known: 0 to 1. Cells, or the
        effective number of them (Korn and Graubard 1998, Surv. Methodol. 24:193).
    confidence : level, 0 to 1 exclusive.

    Raises ValueError for counts or a level outside these ranges.
    """
    if not 0 <= positive <= total:
        raise ValueError(f"wilson: expected 0 <= positive <= total, got {positive} of {total}")
    if not 0 < confidence < 1:
        raise ValueError(f"wilson: expected a confidence between 0 and 1, got {confidence}")
    if total == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = positive / total
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At the ends the interval touches 0 or 1 exactly; rounding must not leave it.
    low = 0.0 if positive == 0 else max(0.0, (middle - spread) / scale)
    high = 1.0 if positive == total else min(1.0, (middle + spread) / scale)
    return Interval(low, high)


def wilson_with_lost(positive: int, lost: int, seen: int, confidence: float) -> Interval:
    """Give bounds of a share when some of the cells seen have no score.

    The lower bound counts every lost cell as negative, the upper one as positive. Turning a scored
    cell into a lost one therefore never raises the lower bound nor lowers the upper one.

    Parameters
    ----------
    positive, lost, seen : cells; positive + lost <= seen.
    confidence : level, 0 to 1 exclusive.
    """
    low = wilson(positive, seen, confidence).low
    return Interval(low, wilson(positive + lost, seen, confidence).high)
