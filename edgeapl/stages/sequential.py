"""When the cells seen so far already decide a flag, so that the others are not needed.

The cells of a frame are looked at in the order of `edgeapl.stages.cell_order`: the largest first,
all others in random order. How many of these others are positive is bounded after every batch by a
confidence sequence for sampling without replacement: the prior-posterior-ratio martingale
(Waudby-Smith and Ramdas 2020, Confidence sequences for sampling without replacement, NeurIPS 33,
section 2) with a uniform beta-binomial prior. Its bounds hold at all looks together, however often
and whenever one looks, except with a probability of at most `error`.

Only a flag ends the examination of a frame: the answer must be FLAG for every number of positive
cells within the bounds. A slide is never cleared or left to a person with cells left out on
purpose; to miss a rare cell (Auer rods) in a slide that is then cleared is therefore impossible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeapl.types import Interval

SAMPLE = 8
"""Cells of a further frame that are looked at besides the largest, at least, once the slide is
flagged; see `sample_of`. Fewer would hardly tell whether the frame is like those before it."""


@dataclass(frozen=True, slots=True)
class FinishedCounts:
    """Cells of frames that are finished.

    seen, scored : cells. positive : scored cells that are positive, one count per question: the
    roles in order, then suspicious.
    """

    seen: int
    scored: int
    positive: tuple[int, ...]

    def plus(self, frame: InterimCounts) -> FinishedCounts:
        """Return the counts with those of one more frame."""
        positive = zip(self.positive, frame.positive, strict=True)
        return FinishedCounts(
            self.seen + frame.seen, self.scored + frame.scored, tuple(a + b for a, b in positive)
        )


@dataclass(frozen=True, slots=True)
class InterimCounts:
    """What is known of one frame now; positive cells are counted as in `FinishedCounts`.

    seen, scored, positive : of all its cells.
    rest : cells that are looked at in random order; rest_scored and rest_positive of them.
    drawn : cells at the head of this order that are scored without a gap; drawn_positive of them.
        Answers come in as networks end, which may depend on what they found; this part does not.
    """

    seen: int
    scored: int
    positive: tuple[int, ...]
    rest: int
    rest_scored: int
    rest_positive: tuple[int, ...]
    drawn: int
    drawn_positive: tuple[int, ...]


def frame_error(error: float, number: int) -> float:
    """Return what the frame with this number, from 1, may spend of a slide's error.

    1 / (1 * 2) + 1 / (2 * 3) + ... = 1: all frames together spend no more, however many come.
    """
    return error / (number * (number + 1))


def positive_bounds(positive: int, drawn: int, cells: int, error: float) -> tuple[int, int]:
    """Bound the number of positive cells from those drawn at random without replacement.

    Parameters
    ----------
    positive, drawn, cells : 0 <= positive <= drawn <= cells.
    error : chance, 0 to 1 exclusive, that the bounds miss at any look at these cells.

    Returns (fewest, most). Raises ValueError for other counts.
    """
    if not 0 <= positive <= drawn <= cells or not 0 < error < 1:
        raise ValueError(f"positive_bounds: {positive} of {drawn} of {cells}, error {error}")
    left = cells - drawn
    negative = drawn - positive
    logs = np.log(np.arange(1, cells + 2)).cumsum()
    factorial = np.concatenate([[0.0], logs])  # of 0 to cells + 1, as logarithms
    more = np.arange(left + 1)
    # Posterior of the positives among those left: beta-binomial with 1 + positive, 1 + negative.
    posterior = (
        (factorial[left] - factorial[more] - factorial[left - more])
        + (factorial[positive + more] - factorial[positive])
        + (factorial[negative + left - more] - factorial[negative])
        + (factorial[drawn + 1] - factorial[cells + 1])
    )
    # The prior is 1 / (cells + 1); kept is where prior / posterior < 1 / error.
    kept = np.flatnonzero(posterior > math.log(error) - math.log(cells + 1) - 1e-9)
    return positive + int(kept[0]), positive + int(kept[-1])


def share_bounds(
    before: FinishedCounts, now: InterimCounts, error: float
) -> tuple[Interval, ...] | None:
    """Bound the shares that all cells of the frames up to this one would give.

    Parameters
    ----------
    before : frames that are finished. now : the open frame.
    error : chance that the bounds of one question miss, at any look at this frame.

    Cells without a score that are not among the frame's random ones may be either. None when the
    cells contradict the bounds, which then miss.
    """
    seen = before.seen + now.seen
    open_rest = now.rest - now.rest_scored
    open_other = before.seen - before.scored + now.seen - now.scored - open_rest
    shares = []
    for column, known in enumerate(now.positive):
        fewest, most = positive_bounds(now.drawn_positive[column], now.drawn, now.rest, error)
        in_rest = now.rest_positive[column]
        if fewest > in_rest + open_rest or most < in_rest:
            return None
        sure = before.positive[column] + known
        low = sure + max(0, fewest - in_rest)
        high = sure + min(open_rest, most - in_rest) + open_other
        shares.append(Interval(low / seen, high / seen))
    return tuple(shares)


def sample_of(first: int, rest: int) -> int:
    """Return how many of the cells in random order are looked at on a flagged slide.

    As many again as of the largest, so that shares are still estimated without bias.
    """
    return min(rest, max(first, SAMPLE))


def is_sampled(now: InterimCounts) -> bool:
    """Tell whether enough of a further frame of a flagged slide was looked at."""
    first = now.seen - now.rest
    first_scored = now.scored - now.rest_scored
    return first_scored == first and now.drawn >= sample_of(first, now.rest)
