"""The rule: FLAG, CLEAR or REVIEW, with the reasons."""

from __future__ import annotations

from collections.abc import Sequence

from edgeapl.bundle.manifest import RuleSpec
from edgeapl.stages.findings import Effect, Finding
from edgeapl.stages.intervals import wilson
from edgeapl.stages.reduce import Reduced
from edgeapl.types import Decision, Reason, Tally


def decide(
    rule: RuleSpec, reduced: Reduced, tally: Tally, findings: Sequence[Finding]
) -> tuple[Decision, tuple[Reason, ...]]:
    """Judge a slide.

    An untrusted model means REVIEW. Otherwise a slide is flagged on its score alone: nothing that
    was lost or rejected takes a flag away. It is cleared only when all was looked at and even the
    upper ends of the intervals, lost cells counted as suspicious, stay below the limits.

    Two properties follow. More suspicious cells never turn FLAG into CLEAR: FLAG needs a share of
    suspicious cells of at least `suspicious_share`, adding some keeps it there, and CLEAR needs
    an upper bound below. Losing cells never yields CLEAR: every bound is taken over the cells seen
    with the lost ones counted as suspicious, so it does not fall when a cell is lost.
    """
    notes = [Reason(f.code, f.text) for f in findings if f.effect is Effect.NOTE]
    untrusted = [Reason(f.code, f.text) for f in findings if f.effect is Effect.UNTRUSTED]
    barring = [Reason(f.code, f.text) for f in findings if f.effect is Effect.BARS_CLEAR]
    barring += _gaps(rule, reduced, tally)
    if untrusted:
        return Decision.REVIEW, (*untrusted, *_would_flag(rule, reduced), *barring, *notes)
    if reduced.probability is None:
        return Decision.REVIEW, (*barring, *notes)
    if _flags(rule, reduced, tally):
        return Decision.FLAG, (_flag_reason(rule, reduced, tally), *barring, *notes)
    doubts = _doubts(rule, reduced, tally)
    if barring or doubts:
        return Decision.REVIEW, (*doubts, *barring, *notes)
    text = (
        f"{reduced.suspicious} of {tally.scored} cells look suspicious, probability of APL "
        f"{reduced.probability:.3f}{_interval_text(reduced)}"
    )
    return Decision.CLEAR, (Reason("clear", text), *notes)


def latch(
    before: Decision | None, decision: Decision, reasons: tuple[Reason, ...]
) -> tuple[Decision, tuple[Reason, ...]]:
    """Keep a flag that was raised earlier on the same slide; later reasons are added."""
    if before is not Decision.FLAG or decision is Decision.FLAG:
        return decision, reasons
    kept = Reason("flag_kept", "the slide was flagged earlier; a flag is never taken back")
    return Decision.FLAG, (kept, *reasons)


def _flags(rule: RuleSpec, reduced: Reduced, tally: Tally) -> bool:
    probability, interval = reduced.probability, reduced.interval
    if probability is None or probability < rule.flag_at or not tally.scored:
        return False
    share = rule.suspicious_share
    if share is not None and reduced.suspicious < share * tally.scored:
        return False
    certain = interval is not None and interval.low >= rule.flag_at
    return tally.scored >= rule.min_scored or certain


def _would_flag(rule: RuleSpec, reduced: Reduced) -> list[Reason]:
    if reduced.probability is None or reduced.probability < rule.flag_at:
        return []
    text = f"the score, {reduced.probability:.3f}, would have raised the flag: look at once"
    return [Reason("would_flag", text)]


def _flag_reason(rule: RuleSpec, reduced: Reduced, tally: Tally) -> Reason:
    around = wilson(reduced.suspicious, tally.scored, rule.confidence)
    text = (
        f"{reduced.suspicious} of {tally.scored} cells look suspicious "
        f"({around.low:.0%} to {around.high:.0%}), probability of APL "
        f"{reduced.probability:.3f}{_interval_text(reduced)}"
    )
    return Reason("flag", text)


def _interval_text(reduced: Reduced) -> str:
    if reduced.interval is None:
        return ""
    return f" ({reduced.interval.low:.3f} to {reduced.interval.high:.3f})"


def _gaps(rule: RuleSpec, reduced: Reduced, tally: Tally) -> list[Reason]:
    """Name what was not looked at."""
    gaps = []
    if tally.scored < rule.min_scored:
        text = (
            f"{tally.scored} cells scored, at least {rule.min_scored} are needed to clear a slide"
        )
        gaps.append(Reason("too_few_cells", text))
    if tally.failed:
        gaps.append(Reason("cells_failed", f"{tally.failed} cells got no usable score"))
    if tally.lost and (tally.lost > rule.max_lost_share * tally.seen or not reduced.lost_bounded):
        text = f"{tally.lost} of {tally.seen} cells have no score"
        gaps.append(Reason("cells_lost", text))
    return gaps


def _doubts(rule: RuleSpec, reduced: Reduced, tally: Tally) -> list[Reason]:
    """Name what keeps the score from being below all limits."""
    assert reduced.probability is not None
    doubts = []
    highest = reduced.interval.high if reduced.interval else reduced.probability
    if not highest < rule.clear_below:
        text = (
            f"probability of APL {reduced.probability:.3f}{_interval_text(reduced)} is not surely "
            f"below {rule.clear_below:g}"
        )
        doubts.append(Reason("uncertain", text))
    if rule.suspicious_share is not None:
        upper = wilson(reduced.suspicious + tally.lost, tally.seen, rule.confidence).high
        if not upper < rule.suspicious_share:
            text = (
                f"{reduced.suspicious} of {tally.scored} cells look suspicious; the share may be "
                f"{upper:.0%}, to clear a slide it must be below {rule.suspicious_share:.0%}"
            )
            doubts.append(Reason("suspicious_share", text))
    return doubts
