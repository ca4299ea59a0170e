"""Words and figures of a slide for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeapl.station.access import WAITING, HistoryItem, SlideView
from edgeapl.types import Reason
from edgeapl.wording.questions import APL, question_of
from edgeapl.wording.verdicts import (
    by_weight,
    describe_flag,
    format_probability,
    headline,
    no_probability,
    probability_parts,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the page says about the open slide.

    probability : value and, if it has an interval, low and high; empty without one.
    none : why there is no probability. figure : what it is.
    flag : since when the slide is flagged, and its present figures; empty without a flag.
    """

    headline: str
    reasons: Sequence[Reason]
    probability: Sequence[str]
    none: str
    flag: str
    figure: str = APL.figure


def answer_of(slide: SlideView) -> Answer:
    """Put a slide's answer into words."""
    if slide.decision is None:
        return Answer(WAITING, slide.reasons, (), "none yet", "")
    decision, codes = slide.decision.value, {reason.code for reason in slide.reasons}
    shown: Sequence[str] = ()
    if slide.probability is not None:
        shown = probability_parts(
            slide.probability, slide.interval.ends if slide.interval else None, _limits(slide)
        )
    return Answer(
        headline=headline(decision, codes),
        reasons=by_weight(slide.reasons, lambda reason: reason.code),
        probability=shown,
        none=f"none: {no_probability(decision, slide.tally.scored, codes)}",
        flag=_flag(slide),
        figure=question_of(codes).figure,
    )


def history_probability(item: HistoryItem) -> str:
    """Return the probability of a closed slide, or an empty text."""
    if item.probability is None:
        return ""
    return format_probability(item.probability, None, item.limits)


def _flag(slide: SlideView) -> str:
    if not (slide.flagged_since or slide.current):
        return ""
    now = ""
    if slide.current is not None and slide.current.probability is not None:
        ends = slide.current.interval.ends if slide.current.interval else None
        now = format_probability(slide.current.probability, ends, _limits(slide))
    return describe_flag(
        slide.flagged_since,
        known=slide.probability is not None,
        kept=slide.current is not None,
        now=now,
    )


def _limits(slide: SlideView) -> tuple[float, ...]:
    return () if slide.limits is None else slide.limits.of_probability
