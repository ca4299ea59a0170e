"""What the rule found, in sentences; each number in them is one that the rule used."""

from __future__ import annotations

from edgeapl.bundle.specs import RuleSpec
from edgeapl.stages.intervals import wilson_with_lost
from edgeapl.stages.reduce import Reduced
from edgeapl.types import Decision, Interval, Limits, RaisedFlag, Tally
from edgeapl.wording.numbers import exact, exact_percent, number, percent, percents
from edgeapl.wording.questions import APL, QUESTIONS, Question
from edgeapl.wording.verdicts import flagged_since, format_probability


def limits_of(rule: RuleSpec) -> Limits:
    """Return the limits that a verdict's figures are compared with."""
    return Limits(rule.flag_at, rule.clear_below, rule.suspicious_share)


def counts_suspicious(rule: RuleSpec, reduced: Reduced) -> bool:
    """Tell whether the share of suspicious cells decides, or the slide's probability alone."""
    return rule.suspicious_share is not None or reduced.voted


def share_bounds(rule: RuleSpec, reduced: Reduced, tally: Tally) -> Interval:
    """Bound the share of suspicious cells among all that were seen."""
    return wilson_with_lost(
        reduced.suspicious, tally.unscored, tally.seen, rule.confidence, reduced.otherwise
    )


def what_was_seen(rule: RuleSpec, reduced: Reduced, tally: Tally) -> str:
    """Return what an answer rests on, as text."""
    of_slide = f"{_figure(reduced)} {_probability(rule, reduced)}"
    if not counts_suspicious(rule, reduced):
        return f"{of_slide} from {tally.scored} cells"
    within = ""
    if not tally.not_needed:  # which were left out because the largest had spoken
        bounds = share_bounds(rule, reduced, tally)
        low, high = percents([bounds.low, bounds.high], _share_limits(rule))
        within = f" ({low} to {high})"
    return f"{_suspicious(rule, reduced, tally)}{within}, {of_slide}"


def would_flag(rule: RuleSpec, reduced: Reduced, but: str) -> str:
    """Return that the score alone would raise the flag, and what prevents it."""
    assert reduced.probability is not None
    return (
        f"the score {number(reduced.probability, [rule.flag_at])} reaches the flag threshold "
        f"{exact(rule.flag_at)}, but {but}: look at this slide first"
    )


def too_few_suspicious(rule: RuleSpec, reduced: Reduced, tally: Tally) -> str:
    """Return that the cells do not bear out a high score."""
    assert rule.suspicious_share is not None
    return (
        f"{_figure(reduced)} {_probability(rule, reduced)}, but "
        f"{_suspicious(rule, reduced, tally)}; a flag takes {exact_percent(rule.suspicious_share)}"
    )


def uncertain(rule: RuleSpec, reduced: Reduced) -> str:
    """Return that the probability may be too high to clear the slide."""
    shown = _probability(rule, reduced)
    return f"{_figure(reduced)} {shown} is not surely below {exact(rule.clear_below)}"


def too_high_a_share(rule: RuleSpec, reduced: Reduced, tally: Tally) -> str:
    """Return that there may be too many suspicious cells to clear the slide."""
    assert rule.suspicious_share is not None
    upper = share_bounds(rule, reduced, tally).high
    return (
        f"{_suspicious(rule, reduced, tally)}; the share may be as high as "
        f"{percent(upper, _share_limits(rule))}, to clear a slide it must be below "
        f"{exact_percent(rule.suspicious_share)}"
    )


def beyond_limits(rule: RuleSpec, reduced: Reduced) -> list[str]:
    """Return, in words, of which roles surely more cells were seen than the rule's limit.

    Surely: the lower end of the interval of their share lies above it.
    """
    texts = []
    for count in reduced.counts:
        limit = rule.role_limits.get(count.role)
        if limit is None or not count.interval.low > limit:
            continue
        share, low, high = percents([count.share, *count.interval.ends], [limit])
        texts.append(
            f"{count.positive} of {count.scored} cells are {count.role.replace('_', ' ')}s: "
            f"{share} ({low} to {high}), the limit is {exact_percent(limit)}"
        )
    return texts


def kept(flag: RaisedFlag, now: Decision, asked: Question = APL) -> str:
    """Return when a flag was raised and on what, and that it would not be raised now."""
    figures = "its figures were not kept"
    if flag.figures is not None and flag.figures.probability is not None:
        shown = format_probability(
            flag.figures.probability,
            flag.figures.interval.ends if flag.figures.interval else None,
            flag.limits.of_probability if flag.limits else (),
        )
        figures = f"last with a {asked.figure} of {shown}"
    return (
        f"{flagged_since(flag.since)}, {figures}; a flag is never taken back, "
        f"although what is known now would be {now.value}"
    )


def _suspicious(rule: RuleSpec, reduced: Reduced, tally: Tally) -> str:
    """E.g. ``42 of 100 cells look suspicious: 40 promyelocyte, 3 auer rod``."""
    found = ", ".join(
        f"{count.positive} {count.role.replace('_', ' ')}"
        for count in reduced.counts
        if count.role in reduced.suspicious_roles and count.positive
    )
    text = f"{reduced.suspicious} of {tally.scored} cells look suspicious"
    text += f": {found}" if found else ""
    if reduced.suspicious != reduced.suspicious_share * tally.scored and tally.unscored:
        share = percent(reduced.suspicious_share, _share_limits(rule))
        text += f"; {share} of all are estimated to"
    return text


def _figure(reduced: Reduced) -> str:
    return QUESTIONS[reduced.answers].figure


def _share_limits(rule: RuleSpec) -> list[float]:
    return [] if rule.suspicious_share is None else [rule.suspicious_share]


def _probability(rule: RuleSpec, reduced: Reduced) -> str:
    assert reduced.probability is not None
    return format_probability(
        reduced.probability,
        reduced.interval.ends if reduced.interval else None,
        limits_of(rule).of_probability,
    )
