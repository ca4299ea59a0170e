"""A verdict in words: its headline, its reasons by weight, its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import floor
from typing import Any, TypeVar

from edgeapl.wording.numbers import numbers, percent, percents, plural

HEADLINES = {
    "FLAG": "APL suspected",
    "CLEAR": "APL not suspected among the cells examined",
    "REVIEW": "a person must look",
}
URGENCY = ("FLAG", "REVIEW", "CLEAR")
LOOK_FIRST = "a person must look, and at this slide first"
ADVICE = {
    "FLAG": "Acute promyelocytic leukaemia is an emergency: have a haematologist look at this "
    "smear now.",
    "CLEAR": "This is not a diagnosis and rules nothing out. It holds for the cells examined, "
    "with this model, and for nothing else.",
    "REVIEW": "The program does not vouch for an answer on this slide. The reasons stand below.",
}

WEIGHTIEST = ("flag", "flag_kept", "would_flag")
"""Codes of reasons that speak for APL; they stand before all others, however few are shown."""

SHOWN_IN_A_ROW = 2
"""Reasons that fit in one row of a table."""

CELLS_BELOW = "The cells that weigh most are shown below."

R = TypeVar("R")


def headline(decision: str, codes: Collection[str]) -> str:
    """Give the verdict in a few words. codes : of its reasons."""
    if decision == "REVIEW" and "would_flag" in codes:
        return LOOK_FIRST
    return HEADLINES[decision]


def sentence(words: str) -> str:
    """Begin with a capital letter."""
    return words[:1].upper() + words[1:]


def by_weight(reasons: Sequence[R], code: Callable[[R], str]) -> list[R]:
    """Put the reasons that speak for APL first and leave the order otherwise as it is.

    Records of older versions have them anywhere.
    """
    return sorted(reasons, key=lambda reason: code(reason) not in WEIGHTIEST)


def reasons_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give the reasons of a record by weight."""
    return by_weight(record["reasons"], lambda reason: str(reason["code"]))


def reasons_in_a_row(record: Mapping[str, Any]) -> str:
    """Give the weightiest reasons in one text, and how many more there are."""
    texts = [str(reason["text"]) for reason in reasons_of(record)]
    more = len(texts) - SHOWN_IN_A_ROW
    shown = "; ".join(texts[:SHOWN_IN_A_ROW])
    return f"{shown}; and {plural(more, 'more reason')}" if more > 0 else shown


def by_urgency(records: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Put the slides first that somebody must look at first; else the order is kept.

    Flags, then reviews that would have been flags, other reviews, and what is clear.
    """

    def urgency(record: Mapping[str, Any]) -> tuple[int, bool]:
        codes = {reason["code"] for reason in record["reasons"]}
        return URGENCY.index(str(record["verdict"])), "would_flag" not in codes

    return sorted(records, key=urgency)


def slides_in_words(records: Sequence[Mapping[str, Any]]) -> str:
    """Give ``3 slides: 1 FLAG, 2 CLEAR``."""
    counts = Counter(str(record["verdict"]) for record in records)
    parts = [f"{counts[verdict]} {verdict}" for verdict in URGENCY if counts[verdict]]
    return plural(len(records), "slide") + (f": {', '.join(parts)}" if parts else "")


def probability_in_words(
    probability: float, interval: Sequence[float] | None, limits: Sequence[float]
) -> str:
    """Give ``0.970 (0.910 to 0.990)``, each number on its side of the limits.

    interval : low and high; None without one.
    """
    shown = probability_in_parts(probability, interval, limits)
    return shown[0] if interval is None else f"{shown[0]} ({shown[1]} to {shown[2]})"


def probability_in_parts(
    probability: float, interval: Sequence[float] | None, limits: Sequence[float]
) -> list[str]:
    """Give probability and, if there is one, low and high of its interval."""
    return numbers(*_values(probability, interval, limits))


def probability_in_percent(
    probability: float, interval: Sequence[float] | None, limits: Sequence[float], gap: str = " "
) -> list[str]:
    """Give probability and, if there is one, low and high of its interval in percent."""
    return percents(*_values(probability, interval, limits), gap)


def no_probability(decision: str, scored: int, codes: Collection[str]) -> str:
    """Say why a verdict has no probability. scored : cells. codes : of its reasons."""
    if decision == "FLAG":
        return "not known: the flag was raised earlier, and its figures were not kept"
    if not scored:
        return "nothing could be scored"
    if {"head_failed", "non_finite"} & set(codes):
        return "the network that judges the slide gave none"
    return "this model gives none"


def flagged_since(since: str) -> str:
    """Say since when a slide is flagged. since : UTC, ISO 8601; empty where that is not known."""
    return f"flagged since {moment(since)}" if since else "flagged earlier"


def flag_in_words(since: str, *, known: bool, kept: bool, now: str) -> str:
    """Say since when a slide is flagged, and whose figures are shown.

    Parameters
    ----------
    since : UTC, ISO 8601; empty where that is not known.
    known : whether the flag has figures. kept : whether the cells would not give the flag now.
    now : probability that they give, in words; empty where they give none.
    """
    text = f"{sentence(flagged_since(since))}."
    if not kept:
        return text
    cells = f"the cells give {now or 'no probability'} now."
    if not known:
        return f"{text} {sentence(cells)}"
    return f"{text} These are the figures of the flag; {cells}"


def moment(time: str) -> str:
    """Write a time, UTC, ISO 8601, for people."""
    return f"{time[:19].replace('T', ' ')} UTC"


def tally_in_words(tally: Mapping[str, int]) -> str:
    """Write a tally so that it adds up before the reader's eyes."""
    if not tally["seen"]:
        return "No cell was seen."
    return f"{plural(tally['seen'], 'cell')} seen: {', '.join(_parts(tally))}."


def examined_percent(share: float) -> str:
    """Write a share that was examined, rounded down, so that it is never more than was."""
    return percent(floor(1000 * share + 1e-9) / 1000)


def field_in_words(examined_share: float | None) -> str:
    """Say which share of the field was examined, rounded down; empty where that is not known."""
    if examined_share is None:
        return ""
    return f"{examined_percent(examined_share)} of the field was examined."


def tally_in_a_row(tally: Mapping[str, int]) -> str:
    """Write a tally for one row of a table."""
    return ", ".join([f"{tally['seen']} seen", *_parts(tally)])


def limits_of(record: Mapping[str, Any]) -> tuple[float, ...]:
    """Give the limits of a record's probability; those of older versions do not say."""
    limits = record.get("limits")
    return () if limits is None else (float(limits["flag_at"]), float(limits["clear_below"]))


def _parts(tally: Mapping[str, int]) -> list[str]:
    lost = ("not_examined", "failed", "not_needed")
    # Records of older versions have none that were not needed.
    named = [f"{tally[part]} {part.replace('_', ' ')}" for part in lost if tally.get(part)]
    return [f"{tally['scored']} scored", *named]


def _values(
    probability: float, interval: Sequence[float] | None, limits: Sequence[float]
) -> tuple[list[float], list[float]]:
    return [probability, *(interval or ())], list(limits)
