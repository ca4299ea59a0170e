"""The history of closed slides."""

from __future__ import annotations

from pathlib import Path

from edgeapl.errors import UsageError
from edgeapl.journal import Record, read_records, sign_off_of
from edgeapl.report.versions import located_report
from edgeapl.station.access import HistoryItem
from edgeapl.wording.verdicts import limits_of

ROWS_PER_ITEM = 20
LEAST_ROWS = 400
"""Rows read at least: amendments and the other kind of slides lie in between."""


def history_of(
    journal: Path, out: Path, limit: int, *, demonstrations: bool
) -> tuple[HistoryItem, ...]:
    """Return the newest closed slides of a journal, newest first.

    demonstrations : only those; otherwise only patients' slides.
    """
    records = read_records(journal, max(LEAST_ROWS, ROWS_PER_ITEM * limit))
    wanted = [record for record in records if record.demonstration is demonstrations]
    return tuple(_item(record, out) for record in reversed(wanted[-limit:]))


def _item(record: Record, out: Path) -> HistoryItem:
    content = record.content
    return HistoryItem(
        slide=record.slide,
        time=record.row.time,
        decision=str(content["verdict"]),
        probability=content["probability"],
        record=record.row.hash,
        report=located_report(record, out),
        amendments=len({row.content.get("cell") for row in record.cells}),
        limits=limits_of(content),
        demonstration=record.demonstration,
        signed=signed_text(record),
    )


def signed_text(record: Record) -> str:
    """Return the last sign-off and whose it is; empty without one."""
    if not record.sign_offs:
        return ""
    last = record.sign_offs[-1]
    try:
        said = sign_off_of(last)
    except UsageError:  # of another version
        return f"{last.content.get('sign_off')} by {last.content.get('person')}"
    return f"{said.words} by {said.person}"
