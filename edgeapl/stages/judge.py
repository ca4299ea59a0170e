"""The rule: FLAG, CLEAR or REVIEW, with the reasons."""

from __future__ import annotations

from collections.abc import Sequence

from edgeapl.bundle.specs import RuleSpec
from edgeapl.stages import reasons
from edgeapl.stages.findings import Code, Effect, Finding
from edgeapl.stages.reduce import Reduced
from edgeapl.types import NOT_NOTED, Decision, RaisedFlag, Reason, Tally
from edgeapl.wording.numbers import exact_percent
from edgeapl.wording.questions import COUNTS_KINDS, QUESTIONS, question_of


def decide(
    rule: RuleSpec, reduced: Reduced, tally: Tally, findings: Sequence[Finding]
) -> tuple[Decision, tuple[Reason, ...]]:
    """Judge a slide.

    A model that cannot be trusted means REVIEW. Otherwise a slide is flagged on its score alone:
    nothing that was lost or rejected takes a flag away. It is cleared only when nothing bars it
    and even the upper ends of the intervals, lost cells counted as suspicious, stay below the
    limits. All else is REVIEW. Every answer carries its reasons, what speaks for APL first.

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
    beyond = _beyond_limits(rule, reduced, tally)
    barring = [*_reasons(findings, Effect.BARS_CLEAR), *_gaps(rule, reduced, tally)]
    notes = [*_reasons(findings, Effect.NOTE), *_left_out(rule, reduced, tally)]
    if untrusted:
        first = would_flag(rule, reduced, but := "the model cannot be trusted here")
        first = first or [
            Reason(Code.WOULD_FLAG, f"{one.text}, but {but}: look at this slide first")
            for one in beyond
        ]
        return Decision.REVIEW, (*first, *untrusted, *barring, *notes)
    if reduced.probability is None:
        text = "no cell could be scored, so there is no probability"
        if tally.scored:
            text = "this bundle has no role that speaks for APL, so there is no probability"
        missing = Reason(Code.NO_SCORE, text)
        return Decision.REVIEW, (*barring, missing, *notes)
    if beyond or _flags(rule, reduced, tally):
        seen = Reason(Code.FLAG, reasons.what_was_seen(rule, reduced, tally))
        return Decision.FLAG, (*beyond, seen, *barring, *notes)
    doubts = _doubts(rule, reduced, tally)
    if doubts or barring:
        return Decision.REVIEW, (*doubts, *barring, *notes)
    text = reasons.what_was_seen(rule, reduced, tally)
    return Decision.CLEAR, (Reason(Code.CLEAR, text), *notes)


def latch(
    before: Decision | None,
    decision: Decision,
    why: tuple[Reason, ...],
    flag: RaisedFlag = NOT_NOTED,
) -> tuple[Decision, tuple[Reason, ...]]:
    """Keep a flag that was raised earlier on the same slide, and add what speaks against it.

    Parameters
    ----------
    before : decision given earlier, or None.
    decision, why : as they stand now.
    flag : what the flag stands on.
    """
    if before is not Decision.FLAG or decision is Decision.FLAG:
        return decision, why
    asked = question_of({reason.code for reason in why})
    return Decision.FLAG, (Reason(Code.FLAG_KEPT, reasons.kept(flag, decision, asked)), *why)


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


def _beyond_limits(rule: RuleSpec, reduced: Reduced, tally: Tally) -> list[Reason]:
    """Return what single roles flag a slide for; never from a part of its cells alone."""
    if tally.not_needed or tally.scored < rule.min_scored:
        return []
    return [Reason(Code.FLAG, text) for text in reasons.beyond_limits(rule, reduced)]


def _enough_suspicious(rule: RuleSpec, reduced: Reduced) -> bool:
    share = rule.suspicious_share
    return share is None or reduced.suspicious_share >= share


def _enough_to_flag(rule: RuleSpec, reduced: Reduced, tally: Tally) -> bool:
    sure = reduced.interval is not None and reduced.interval.low >= rule.flag_at
    return tally.scored >= rule.min_scored or sure


def would_flag(rule: RuleSpec, reduced: Reduced, but: str) -> list[Reason]:
    """Return that the score alone would raise the flag, if it would, and what prevents it."""
    if reduced.probability is None or not reduced.probability >= rule.flag_at:
        return []
    return [Reason(Code.WOULD_FLAG, reasons.would_flag(rule, reduced, but))]


def _gaps(rule: RuleSpec, reduced: Reduced, tally: Tally) -> list[Reason]:
    """Return what was not examined and bars CLEAR; cells left out on purpose always do."""
    gaps = []
    if never := QUESTIONS[reduced.answers].never_clears:
        gaps.append(Reason(COUNTS_KINDS, never))
    if not tally.seen:
        gaps.append(Reason(Code.NO_CELLS, "no nucleated cell was found"))
    elif tally.scored < rule.min_scored:
        what = "a count" if never else "to clear a slide"
        text = f"only {tally.scored} cells were scored, {what} takes {rule.min_scored}"
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
            f"{exact_percent(rule.max_lost_share)} may be without"
            if reduced.lost_bounded
            else f"{tally.lost} of {tally.seen} cells have no score, any of them may have mattered"
        )
        gaps.append(Reason(Code.CELLS_LOST, text))
    return gaps


def _lost_too_many(rule: RuleSpec, reduced: Reduced, tally: Tally) -> bool:
    if reduced.lost_bounded:
        # Divided, so that 29 of 100 are not more than 0.29 of them.
        return tally.seen > 0 and tally.lost / tally.seen > rule.max_lost_share
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
    """Return what keeps the score from being below all limits, or from raising the flag."""
    assert reduced.probability is not None
    doubts = []
    if not _enough_suspicious(rule, reduced):
        if reduced.probability >= rule.flag_at:
            text = reasons.too_few_suspicious(rule, reduced, tally)
            doubts.append(Reason(Code.TOO_FEW_SUSPICIOUS, text))
    elif not _enough_to_flag(rule, reduced, tally):
        but = f"only {tally.scored} cells were scored, and a flag takes {rule.min_scored}"
        doubts += would_flag(rule, reduced, but)
    highest = reduced.interval.high if reduced.interval else reduced.probability
    if not highest < rule.clear_below:
        doubts.append(Reason(Code.UNCERTAIN, reasons.uncertain(rule, reduced)))
    if rule.suspicious_share is not None:
        upper = reasons.share_bounds(rule, reduced, tally).high
        if not upper < rule.suspicious_share:
            text = reasons.too_high_a_share(rule, reduced, tally)
            doubts.append(Reason(Code.SUSPICIOUS_SHARE, text))
    return doubts
