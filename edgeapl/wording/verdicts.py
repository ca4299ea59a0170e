"""Sentences about a verdict: its headline, its reasons by weight, its figures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import floor
from typing import Any, TypeVar

from edgeapl.wording.local_time import local_time
from edgeapl.wording.numbers import numbers, percent, percents, plural
from edgeapl.wording.questions import APL, question_of

HEADLINES = {
    "FLAG": APL.flag,
    "CLEAR": "APL not suspected among the cells examined",
    "REVIEW": "a person must look",
}
URGENCY = ("FLAG", "REVIEW", "CLEAR")
LOOK_FIRST = "a person must look, and at this slide first"
ADVICE = {
    "FLAG": APL.advice,
    "CLEAR": "This is not a diagnosis and rules nothing out. It holds for the cells examined, "
    "with this model, and for nothing else.",
    "REVIEW": "The program does not vouch for an answer on this slide. The reasons stand below.",
}

WEIGHTIEST = ("flag", "flag_kept", "would_flag")
"""Codes of reasons that suggest APL; they come first, however few reasons are shown."""

SHOWN_IN_A_ROW = 2
"""Reasons that fit in one row of a table."""

CELLS_BELOW = "The cells that weigh most are shown below."

R = TypeVar("R")


def headline(decision: str, codes: Collection[str]) -> str:
    """Return the verdict in a few words. codes : of its reasons."""
    if decision == "REVIEW" and "would_flag" in codes:
        return LOOK_FIRST
    return question_of(codes).flag if decision == "FLAG" else HEADLINES[decision]


def advice(decision: str, codes: Collection[str]) -> str:
    """Return what to do, or what the answer does not say. codes : of the verdict's reasons."""
    return question_of(codes).advice if decision == "FLAG" else ADVICE[decision]


def sentence(words: str) -> str:
    """Return the text with a capital first letter."""
    return words[:1].upper() + words[1:]


def by_weight(reasons: Sequence[R], code: Callable[[R], str]) -> list[R]:
    """Put the reasons that suggest APL first, and otherwise keep the order.

    Older records have them in any order.
    """
    return sorted(reasons, key=lambda reason: code(reason) not in WEIGHTIEST)


def reasons_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the reasons of a record, ordered by weight."""
    return by_weight(record["reasons"], lambda reason: str(reason["code"]))


def reasons_row(record: Mapping[str, Any]) -> str:
    """Return the weightiest reasons as one text, and how many more there are."""
    texts = [str(reason["text"]) for reason in reasons_of(record)]
    more = len(texts) - SHOWN_IN_A_ROW
    shown = "; ".join(texts[:SHOWN_IN_A_ROW])
    return f"{shown}; and {plural(more, 'more reason')}" if more > 0 else shown


def urgency(record: Mapping[str, Any]) -> int:
    """Return how soon somebody must look at a slide, 0 first.

    Flags come first, then reviews that would have been flags, other reviews, and cleared slides.
    """
    codes = {reason["code"] for reason in record["reasons"]}
    return 2 * URGENCY.index(str(record["verdict"])) + ("would_flag" not in codes)


def count_by_verdict(verdicts: Mapping[str, int]) -> str:
    """Return a tally such as ``3 slides: 1 FLAG, 2 CLEAR``. verdicts : how many slides of each."""
    parts = [f"{verdicts[one]} {one}" for one in URGENCY if verdicts.get(one)]
    total = sum(verdicts.values())
    return plural(total, "slide") + (f": {', '.join(parts)}" if parts else "")


def format_probability(
    probability: float, interval: Sequence[float] | None, limits: Sequence[float]
) -> str:
    """Return ``0.970 (0.910 to 0.990)``, each number on its side of the limits.

    interval : low and high; None if there is none.
    """
    shown = probability_parts(probability, interval, limits)
    return shown[0] if interval is None else f"{shown[0]} ({shown[1]} to {shown[2]})"


def probability_parts(
    probability: float, interval: Sequence[float] | None, limits: Sequence[float]
) -> list[str]:
    """Return the probability and, if there is one, low and high of its interval."""
    return numbers(*_values(probability, interval, limits))


def probability_percents(
    probability: float, interval: Sequence[float] | None, limits: Sequence[float], gap: str = " "
) -> list[str]:
    """Return the probability and, if there is one, low and high of its interval, in percent."""
    return percents(*_values(probability, interval, limits), gap)


def no_probability(decision: str, scored: int, codes: Collection[str]) -> str:
    """Return why a verdict has no probability. scored : cells. codes : of its reasons."""
    if decision == "FLAG":
        return "not known: the flag was raised earlier, and its figures were not kept"
    if not scored:
        return "nothing could be scored"
    if {"head_failed", "non_finite"} & set(codes):
        return "the network that judges the slide gave none"
    return "this model gives none"


def flagged_since(since: str) -> str:
    """Return since when a slide is flagged. since : UTC, ISO 8601; empty if unknown."""
    return f"flagged since {format_time(since)}" if since else "flagged earlier"


def describe_flag(since: str, *, known: bool, kept: bool, now: str) -> str:
    """Return since when a slide is flagged, and to which state the figures belong.

    Parameters
    ----------
    since : UTC, ISO 8601; empty if unknown.
    known : whether the flag has figures. kept : whether the cells no longer support the flag.
    now : the current probability as text; empty if there is none.
    """
    when = f"flagged since {local_time(since, seconds=True)}" if since else flagged_since(since)
    text = f"{sentence(when)}."
    if not kept:
        return text
    cells = f"the cells give {now or 'no probability'} now."
    if not known:
        return f"{text} {sentence(cells)}"
    return f"{text} These are the figures of the flag; {cells}"


def format_time(time: str) -> str:
    """Format a time, UTC, ISO 8601, for people."""
    return f"{time[:19].replace('T', ' ')} UTC"


def describe_tally(tally: Mapping[str, int]) -> str:
    """Format a tally so that its parts visibly add up."""
    if not tally["seen"]:
        return "No cell was seen."
    return f"{plural(tally['seen'], 'cell')} seen: {', '.join(_parts(tally))}."


def examined_percent(share: float) -> str:
    """Format the share that was examined, rounded down so that it is never overstated."""
    return percent(floor(1000 * share + 1e-9) / 1000)


def describe_field(examined_share: float | None) -> str:
    """Return which share of the field was examined, rounded down; empty if unknown."""
    if examined_share is None:
        return ""
    return f"{examined_percent(examined_share)} of the field was examined."


def tally_row(tally: Mapping[str, int]) -> str:
    """Format a tally for one row of a table."""
    return ", ".join([f"{tally['seen']} seen", *_parts(tally)])


def limits_of(record: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the limits of a record's probability; older records do not say."""
    limits = record.get("limits")
    return () if limits is None else (float(limits["flag_at"]), float(limits["clear_below"]))


def _parts(tally: Mapping[str, int]) -> list[str]:
    lost = ("not_examined", "failed", "not_needed")
    # Older records do not count cells that were not needed.
    named = [f"{tally[part]} {part.replace('_', ' ')}" for part in lost if tally.get(part)]
    return [f"{tally['scored']} scored", *named]


def _values(
    probability: float, interval: Sequence[float] | None, limits: Sequence[float]
) -> tuple[list[float], list[float]]:
    return [probability, *(interval or ())], list(limits)
