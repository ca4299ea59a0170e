"""Flags that somebody must notice: read from the journal, where they stay until they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeapl.journal import schema
from edgeapl.journal.chain import ACKNOWLEDGEMENT, NOTICE, PROVISIONAL, VERDICT, Row
from edgeapl.journal.reading import snapshot

_FLAGS = '"verdict":"FLAG"'
"""Stands so in canonical JSON, and can not stand in any text, whose quotes are escaped there."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """The flag of one slide, from its first committed row on.

    record : hash of that row. sitting : the examination it belongs to, as in `Origin`.
    time : of that row, UTC, ISO 8601.
    probability : of that row, 0 to 1, or None.
    demonstration : of no patient.
    acknowledged_by : initials; empty until then.
    noticed : the command of ``--on-flag`` was run for it, with or without success.
    """

    record: str
    sitting: str
    slide: str
    time: str
    probability: float | None
    demonstration: bool
    acknowledged_by: str = ""
    noticed: bool = False


def read_alarms(path: Path) -> tuple[Alarm, ...]:
    """Give the flags that stations raised, oldest first; folders that were scored raise none.

    Raises StorageError.
    """
    clause = (
        f"WHERE kind IN ('{ACKNOWLEDGEMENT}', '{NOTICE}') OR (kind IN ('{PROVISIONAL}', "
        f"'{VERDICT}') AND instr(payload, ?) > 0) ORDER BY sequence"
    )
    with snapshot(path) as connection:
        return alarms_of(schema.select_rows(connection, clause, (_FLAGS,)))


def alarms_of(rows: Iterable[Row]) -> tuple[Alarm, ...]:
    """Find the alarms in rows, oldest first.

    A flag counts even when its row was edited; an acknowledgement only when it was not.
    """
    by_sitting: dict[str, Alarm] = {}
    sitting_of: dict[str, str] = {}
    for row in rows:
        content = row.content
        if row.kind in (PROVISIONAL, VERDICT):
            sitting = str(content.get("sitting", ""))
            if sitting and sitting not in by_sitting:
                by_sitting[sitting] = _alarm(row, content)
                sitting_of[row.hash] = sitting
        elif row.consistent:
            sitting = sitting_of.get(str(content.get("record")), "")
            alarm = by_sitting.get(sitting)
            if alarm is not None:
                by_sitting[sitting] = _with_event(alarm, row.kind, content)
    return tuple(by_sitting.values())


def _alarm(row: Row, content: dict[str, Any]) -> Alarm:
    return Alarm(
        record=row.hash,
        sitting=str(content["sitting"]),
        slide=str(content.get("slide", "")),
        time=row.time,
        probability=content.get("probability"),
        demonstration=content.get("demonstration") is True,
    )


def _with_event(alarm: Alarm, kind: str, content: dict[str, Any]) -> Alarm:
    if kind == NOTICE:
        return replace(alarm, noticed=True)
    return replace(alarm, acknowledged_by=str(content.get("person", "")) or "unknown")
