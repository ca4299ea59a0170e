"""Shares of verdicts over time, by week or month."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from edgeapl.monitoring.slides import MonitoredSlide
from edgeapl.stages.intervals import wilson
from edgeapl.types import Decision, Interval

MOST_WEEKS = 26
"""For longer times months are counted."""

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Period:
    """One week or month. first : its first day. counts : number of slides per verdict."""

    first: date
    counts: dict[str, int]

    @property
    def slides(self) -> int:
        """Number of closed slides."""
        return sum(self.counts.values())

    def interval(self, verdict: str) -> Interval:
        """Return the Wilson interval of a verdict's share."""
        return wilson(self.counts[verdict], self.slides, CONFIDENCE)


def periods(slides: Sequence[MonitoredSlide]) -> tuple[str, list[Period]]:
    """Return ``week`` or ``month``, and the periods in which slides were closed."""
    if not slides:
        return "week", []
    days = (slides[-1].time - slides[0].time).days
    kind = "week" if days <= 7 * MOST_WEEKS else "month"
    found: dict[date, Counter[str]] = {}
    for slide in slides:
        found.setdefault(_first_day(slide.time.date(), kind), Counter())[slide.decision] += 1
    names = [decision.value for decision in Decision]
    return kind, [
        Period(first, {name: counts[name] for name in names})
        for first, counts in sorted(found.items())
    ]


def _first_day(day: date, kind: str) -> date:
    if kind == "month":
        return day.replace(day=1)
    return date.fromordinal(day.toordinal() - day.weekday())
