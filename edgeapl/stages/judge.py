"""The rule: FLAG, CLEAR or REVIEW, with the reasons."""

from __future__ import annotations

from collections.abc import Sequence

from edgeapl.bundle.specs import RuleSpec
from edgeapl.stages.findings import Code, Effect, Finding
from edgeapl.stages.intervals import wilson, wilson_with_lost
from edgeapl.stages.reduce import Reduced
from edgeapl.types import NOT_NOTED, Decision, Figures, RaisedFlag, Reason, Tally


def decide(
    rule: RuleSpec, reduced: Reduced, tally: Tally, findings: Sequence[Finding]
) -> tuple[Decision, tuple[Reason, ...]]:
    """Judge a slide.

    A model that can not be trusted means REVIEW. Otherwise a slide is flagged on its score alone:
    nothing that was lost or rejected takes a flag away. It is cleared only when nothing bars it
    and even the upper ends of the intervals, lost cells counted as suspicious, stay below the
    limits. All else is REVIEW. Every answer carries its reasons.

    What follows, for rules with a `suspicious_share` (all `ratio` and `vote` bundles):

    Adding suspicious cells never turns FLAG into CLEAR. FLAG needs suspicious / scored >= share;
    k more give (suspicious + k) / (scored + k), which is no less; CLEAR needs an upper bound of
    that very share below the limit, and an upper bound is never below its estimate. Where cells
    were not examined the share is estimated from strata; the estimate is at most
    (suspicious + lost) / seen, of which CLEAR needs an upper bound below the limit.

    Losing cells never yields CLEAR, for all rules. With (suspicious + lost) / seen as estimate no
    upper bound falls when a scored cell becomes a lost one, fewer cells are scored, more are lost,
    so each condition of CLEAR that failed before fails after; and a slide that was flagged keeps
    (suspicious + lost) / seen >= share. Without such bounds (`max`, `mean`) a lost cell bars CLEAR.

    Cells left out on purpose (`edgeapl.stages.sequential`) never yield CLEAR: each of them bars it.
    """
    untrusted = _reasons(findings, Effect.UNTRUSTED)
    barring = [*_reasons(findings, Effect.BARS_CLEAR), *_gaps(rule, reduced, tally)]
    notes = [*_reasons(findings, Effect.NOTE), *_left_out(rule, reduced, tally)]
    if untrusted:
        return Decision.REVIEW, (*untrusted, *_would_flag(rule, reduced), *barring, *notes)
    if reduced.probability is None:
        missing = Reason(Code.NO_SCORE, "no cell could be scored, so there is no probability")
        return Decision.REVIEW, (*barring, missing, *notes)
    if _flags(rule, reduced, tally):
        text = _what_was_seen(rule, reduced, tally)
        return Decision.FLAG, (Reason(Code.FLAG, text), *barring, *notes)
    doubts = _doubts(rule, reduced, tally)
    if doubts or barring:
        return Decision.REVIEW, (*doubts, *barring, *notes)
    return Decision.CLEAR, (Reason(Code.CLEAR, _what_was_seen(rule, reduced, tally)), *notes)


def latch(
    before: Decision | None,
    decision: Decision,
    reasons: tuple[Reason, ...],
    flag: RaisedFlag = NOT_NOTED,
) -> tuple[Decision, tuple[Reason, ...]]:
    """Keep a flag that was raised earlier on the same slide; what speaks against it is added.

    Parameters
    ----------
    before : decision given earlier, or None.
    decision, reasons : as they stand now.
    flag : what the flag stands on.
    """
    if before is not Decision.FLAG or decision is Decision.FLAG:
        return decision, reasons
    return Decision.FLAG, (Reason(Code.FLAG_KEPT, _kept(flag, decision)), *reasons)


def _kept(flag: RaisedFlag, now: Decision) -> str:
    """Say when a flag was raised and on what, and that it would not be raised now."""
    since = f"at {flag.since[:19].replace('T', ' ')} UTC" if flag.since else "earlier"
    figures = "its figures were not kept"
    if flag.figures is not None and flag.figures.probability is not None:
        figures = f"last with a probability of APL of {_probability(flag.figures)}"
    return (
        f"the slide was flagged {since}, {figures}; a flag is never taken back, "
        f"although what is known now would be {now.value}"
    )


def _reasons(findings: Sequence[Finding], effect: Effect) -> list[Reason]:
    return [Reason(found.code, found.text) for found in findings if found.effect is effect]


def _flags(rule: RuleSpec, reduced: Reduced, tally: Tally) -> bool:
    """Tell whether score, cells and number of cells all speak for APL."""
    return (
        reduced.probability is not None
        and reduced.probability >= rule.flag_at
        and _enough_suspicious(rule, reduced)
        and _enough_to_flag(rule, reduced, tally)
    )


def _enough_suspicious(rule: RuleSpec, reduced: Reduced) -> bool:
    share = rule.suspicious_share
    return share is None or reduced.suspicious_share >= share


def _enough_to_flag(rule: RuleSpec, reduced: Reduced, tally: Tally) -> bool:
    sure = reduced.interval is not None and reduced.interval.low >= rule.flag_at
    return tally.scored >= rule.min_scored or sure


def _would_flag(rule: RuleSpec, reduced: Reduced) -> list[Reason]:
    if reduced.probability is None or not reduced.probability >= rule.flag_at:
        return []
    text = (
        f"the score {reduced.probability:.2f} is over the flag threshold {rule.flag_at:g}, but the "
        "model can not be trusted here: look at this slide first"
    )
    return [Reason(Code.WOULD_FLAG, text)]


def _gaps(rule: RuleSpec, reduced: Reduced, tally: Tally) -> list[Reason]:
    """Name what was not looked at and bars CLEAR; cells left out on purpose always do."""
    gaps = []
    if not tally.seen:
        gaps.append(Reason(Code.NO_CELLS, "no nucleated cell was found"))
    elif tally.scored < rule.min_scored:
        text = f"only {tally.scored} cells were scored, to clear a slide takes {rule.min_scored}"
        gaps.append(Reason(Code.TOO_FEW_CELLS, text))
    if tally.failed:
        text = f"{tally.failed} of {tally.seen} cells got no usable score"
        gaps.append(Reason(Code.CELLS_FAILED, text))
    if tally.not_needed:
        text = f"{tally.not_needed} of {tally.seen} cells were not needed for the flag and left out"
        gaps.append(Reason(Code.NOT_NEEDED, text))
    if _lost_too_many(rule, reduced, tally):
        text = (
            f"{tally.lost} of {tally.seen} cells have no score, "
            f"{_percent(rule.max_lost_share)} may be without"
            if reduced.lost_bounded
            else f"{tally.lost} of {tally.seen} cells have no score, any of them may have mattered"
        )
        gaps.append(Reason(Code.CELLS_LOST, text))
    return gaps


def _lost_too_many(rule: RuleSpec, reduced: Reduced, tally: Tally) -> bool:
    if reduced.lost_bounded:
        return tally.lost > rule.max_lost_share * tally.seen
    return tally.lost > 0


def _left_out(rule: RuleSpec, reduced: Reduced, tally: Tally) -> list[Reason]:
    """Report cells that were not examined where they are few enough to bar nothing."""
    if not tally.not_examined or _lost_too_many(rule, reduced, tally):
        return []
    text = (
        f"{tally.not_examined} of {tally.seen} cells were not examined; "
        "the interval counts each of them as possibly suspicious"
    )
    return [Reason(Code.NOT_EXAMINED, text)]


def _doubts(rule: RuleSpec, reduced: Reduced, tally: Tally) -> list[Reason]:
    """Name what keeps the score from being below all limits, or from raising the flag."""
    assert reduced.probability is not None
    doubts = []
    if reduced.probability >= rule.flag_at and not _enough_suspicious(rule, reduced):
        text = (
            f"probability of APL {_probability(reduced)}, but {_suspicious(reduced, tally)}; "
            f"a flag takes {_percent(rule.suspicious_share)}"
        )
        doubts.append(Reason(Code.TOO_FEW_SUSPICIOUS, text))
    highest = reduced.interval.high if reduced.interval else reduced.probability
    if not highest < rule.clear_below:
        text = (
            f"probability of APL {_probability(reduced)} is not surely below {rule.clear_below:g}"
        )
        doubts.append(Reason(Code.UNCERTAIN, text))
    if rule.suspicious_share is not None:
        unscored, seen = tally.unscored, tally.seen
        upper = wilson_with_lost(reduced.suspicious, unscored, seen, rule.confidence).high
        if not upper < rule.suspicious_share:
            text = (
                f"{_suspicious(reduced, tally)}; the share may be as high as {_percent(upper)}, "
                f"to clear a slide it must be below {_percent(rule.suspicious_share)}"
            )
            doubts.append(Reason(Code.SUSPICIOUS_SHARE, text))
    return doubts


def _what_was_seen(rule: RuleSpec, reduced: Reduced, tally: Tally) -> str:
    if not reduced.suspicious_roles:
        return f"probability of APL {_probability(reduced)} from {tally.scored} cells"
    around = wilson(reduced.suspicious, tally.scored, rule.confidence)
    return (
        f"{_suspicious(reduced, tally)} "
        f"({_percent(around.low)} to {_percent(around.high)}), "
        f"probability of APL {_probability(reduced)}"
    )


def _suspicious(reduced: Reduced, tally: Tally) -> str:
    """E.g. ``42 of 100 cells look suspicious: 40 promyelocyte, 3 auer rod``."""
    found = ", ".join(
        f"{count.positive} {count.role.replace('_', ' ')}"
        for count in reduced.counts
        if count.role in reduced.suspicious_roles and count.positive
    )
    return f"{reduced.suspicious} of {tally.scored} cells look suspicious" + (
        f": {found}" if found else ""
    )


def _probability(reduced: Reduced | Figures) -> str:
    around = reduced.interval
    spread = f" ({around.low:.3f} to {around.high:.3f})" if around else ""
    return f"{reduced.probability:.3f}{spread}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"
