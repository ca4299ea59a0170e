"""Compares two candidates, run alternately: relative time, and whether their answers agree."""

from __future__ import annotations

from dataclasses import dataclass

from edgeapl.bench.runner import Pass
from edgeapl.bench.scenarios import Measured
from edgeapl.bench.statistics import Ratio, paired_ratio
from edgeapl.types import Verdict


@dataclass(frozen=True, slots=True)
class Difference:
    """A slide on which two candidates disagree, as text."""

    slide: str
    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A against B.

    ratio : seconds of A over seconds of B, slide by slide: above 1, B is faster.
    seconds : of every pair, A and B. cells_alike : whether both always found the same number of
        cells.
    probability : largest difference of the slide's probability; None if there is none.
    differences : slides with different verdicts.
    """

    ratio: Ratio
    seconds: tuple[tuple[float, float], ...]
    cells_alike: bool
    probability: float | None
    differences: tuple[Difference, ...]


def compare(one: Measured, other: Measured) -> Comparison:
    """Compare two candidates that alternated. Raises ValueError without a pair."""
    pairs = list(zip(one.passes, other.passes, strict=True))
    apart = [_apart(a.verdict, b.verdict) for a, b in pairs]
    known = [difference for difference in apart if difference is not None]
    return Comparison(
        ratio=paired_ratio([a.seconds for a, _ in pairs], [b.seconds for _, b in pairs]),
        seconds=tuple((a.seconds, b.seconds) for a, b in pairs),
        cells_alike=all(a.verdict.tally.seen == b.verdict.tally.seen for a, b in pairs),
        probability=max(known, default=None),
        differences=_differences(pairs),
    )


def _apart(one: Verdict, other: Verdict) -> float | None:
    if one.probability is None or other.probability is None:
        return None
    return abs(one.probability - other.probability)


def _differences(pairs: list[tuple[Pass, Pass]]) -> tuple[Difference, ...]:
    """Return every slide with two different verdicts once."""
    found = {}
    for a, b in pairs:
        if a.verdict.decision is not b.verdict.decision:
            text = f"{a.verdict.decision.value} and {b.verdict.decision.value}"
            found[a.slide] = Difference(a.slide, text)
    return tuple(found.values())
