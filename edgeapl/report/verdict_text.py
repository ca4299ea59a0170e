"""Words and figures of a verdict for its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeapl.report.context import ReportContext
from edgeapl.types import Limits
from edgeapl.wording.numbers import NO_BREAK
from edgeapl.wording.questions import Question, question_of
from edgeapl.wording.verdicts import (
    CELLS_BELOW,
    advice,
    describe_flag,
    headline,
    no_probability,
    probability_percents,
    reasons_of,
    sentence,
)

Count = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """The top of a report.

    probability : value and, if it has an interval, low and high, in percent; empty without one.
    none : why there is no probability. by : whose probability it is.
    limits : those the figures are compared with.
    flag : since when the slide is flagged, and its present figures; empty for other verdicts.
    counts : per role, of the cells in the tables; without any, those of the stored flag.
    counts_note : a remark on the counts. asked : what the figures are about.
    """

    headline: str
    advice: str
    reasons: Sequence[Mapping[str, Any]]
    probability: Sequence[str]
    none: str
    by: str
    limits: Limits
    flag: str
    counts: Sequence[Count]
    counts_note: str
    asked: Question


def answer_of(
    record: Mapping[str, Any], context: ReportContext, *, pictured: bool = True
) -> Answer:
    """Return the answer for a verdict as plain JSON values.

    pictured : the report has pictures of the cells that weigh most.
    """
    decision, tally = record["verdict"], record["tally"]
    codes = {str(reason["code"]) for reason in record["reasons"]}
    limits = Limits(context.flag_at, context.clear_below)
    if record.get("limits") is not None:
        limits = Limits(**record["limits"])
    current = record.get("current")
    counts, note = _counts(record, context)
    shows_cells = pictured and decision == "FLAG" and bool(record["evidence"])
    return Answer(
        headline=sentence(headline(decision, codes)),
        advice=advice(decision, codes) + (f" {CELLS_BELOW}" if shows_cells else ""),
        reasons=reasons_of(record),
        probability=_percent(record, limits),
        none=sentence(no_probability(decision, tally["scored"], codes)),
        by="another bundle" if record.get("flagged_by") else "this model",
        limits=limits,
        flag="" if not _is_held(record) else _flag(record, current, limits),
        counts=counts,
        counts_note=note,
        asked=question_of(codes),
    )


def _is_held(record: Mapping[str, Any]) -> bool:
    return bool(record.get("flagged_since") or record.get("current"))


def _percent(figures: Mapping[str, Any], limits: Limits) -> list[str]:
    value = figures["probability"]
    if value is None:
        return []
    return probability_percents(value, figures["interval"], limits.of_probability, NO_BREAK)


def _flag(record: Mapping[str, Any], current: Mapping[str, Any] | None, limits: Limits) -> str:
    shown = [] if current is None else _percent(current, limits)
    now = f"{shown[0]} ({shown[1]} to {shown[2]})" if len(shown) == 3 else "".join(shown)
    return describe_flag(
        record.get("flagged_since", ""),
        known=record["probability"] is not None,
        kept=current is not None,
        now=now,
    )


def _counts(record: Mapping[str, Any], context: ReportContext) -> tuple[Sequence[Count], str]:
    notes = []
    if not context.by_cells:
        notes.append("This model judges all cells together: these counts do not raise a flag.")
    current = record.get("current")
    counts: Sequence[Count] = record["counts"]
    if current is not None and record["tally"]["scored"]:
        counts = current["counts"]
    elif current is not None:
        notes.append("Counted when the slide was flagged; those cells are not in the tables here.")
    return counts, " ".join(notes)
