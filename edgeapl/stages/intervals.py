"""Confidence intervals of shares."""

from __future__ import annotations

import math
from statistics import NormalDist

from edgeapl.types import Interval


def wilson(positive: float, total: float, confidence: float) -> Interval:
    """Return the Wilson score interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22:209).

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


def wilson_with_lost(
    positive: int, lost: int, seen: int, confidence: float, otherwise: int = 0
) -> Interval:
    """Return bounds of a share when some of the cells seen have no score.

    The lower bound counts every lost cell as negative, the upper one as positive. Turning a scored
    cell into a lost one therefore never raises the lower bound nor lowers the upper one.

    Parameters
    ----------
    positive, lost, seen : cells; positive + lost <= seen.
    confidence : level, 0 to 1 exclusive.
    otherwise : scored cells that may have been answered wrongly, 0 or more: the lower bound counts
        them as negative, the upper one as positive.
    """
    low = wilson(max(0, positive - otherwise), seen, confidence).low
    return Interval(low, wilson(min(seen, positive + lost + otherwise), seen, confidence).high)


def exact_upper(positive: int, total: int, confidence: float) -> float:
    """Return the exact upper bound of a share, one-sided (Clopper and Pearson 1934), 0 to 1.

    Parameters
    ----------
    positive, total : 0 <= positive <= total; with total 0 nothing is known: 1.
    confidence : level, 0 to 1 exclusive.
    """
    if positive >= total:
        return 1.0
    low, high = positive / total, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if at_most(positive, total, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def exact(positive: int, total: int, confidence: float) -> Interval:
    """Return the exact interval of a share, two-sided (Clopper and Pearson 1934)."""
    one_sided = (1 + confidence) / 2
    low = 1 - exact_upper(total - positive, total, one_sided)
    return Interval(low, exact_upper(positive, total, one_sided))


def at_most(most: int, total: int, share: float) -> float:
    """Return P(Binomial(total, share) <= most), 0 to 1. share : 0 to 1 exclusive."""
    return math.fsum(binomial(count, total, share) for count in range(most + 1))


def binomial(count: int, total: int, share: float) -> float:
    """Return P(Binomial(total, share) = count), 0 to 1. share : 0 to 1 exclusive."""
    ways = math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)
    return math.exp(ways + count * math.log(share) + (total - count) * math.log1p(-share))


def upper_count(total: int, share: float, confidence: float) -> int:
    """Return the smallest count that Binomial(total, share) exceeds with 1 - confidence at most.

    Parameters
    ----------
    total : 0 or more. share : 0 to 1. confidence : level, 0 to 1 exclusive.
    """
    if share >= 1:
        return total
    if share <= 0:
        return 0
    below = 0.0
    for count in range(total):
        below += binomial(count, total, share)
        if below >= confidence:
            return count
    return total
