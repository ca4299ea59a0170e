"""Flags that somebody must notice, read from the journal until they are acknowledged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeapl.errors import UsageError
from edgeapl.journal import schema
from edgeapl.journal.chain import ACKNOWLEDGEMENT, NOTICE, PROVISIONAL, VERDICT, Row
from edgeapl.journal.reader import find_row, read_rows, snapshot
from edgeapl.journal.store import Journal
from edgeapl.wording.questions import APL, question_of

_FLAGS = '"verdict":"FLAG"'
"""How a flag appears in canonical JSON. No text can contain it: quotes are escaped there."""

LONGEST_PERSON = 40


@dataclass(frozen=True, slots=True)
class Alarm:
    """The flag of one slide, starting at its first committed row.

    record : hash of that row. sitting : the examination it belongs to, see `Origin`.
    time : of that row, UTC, ISO 8601.
    probability : in that row, 0 to 1, or None.
    demonstration : the slide is not a patient's.
    acknowledged_by : initials; empty until acknowledged.
    codes : of the verdict's reasons in that row.
    noticed : the ``--on-flag`` command was run for it, whether or not it succeeded.
    """

    record: str
    sitting: str
    slide: str
    time: str
    probability: float | None
    demonstration: bool
    acknowledged_by: str = ""
    noticed: bool = False
    codes: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        """What the flag says, in a few words."""
        return question_of(self.codes).flag

    @property
    def of_apl(self) -> bool:
        """Whether the probability is that of APL."""
        return question_of(self.codes) is APL


def read_alarms(path: Path) -> tuple[Alarm, ...]:
    """Return the flags that stations raised, oldest first. Scored folders raise none.

    Raises StorageError.
    """
    clause = (
        f"WHERE kind IN ('{ACKNOWLEDGEMENT}', '{NOTICE}') OR (kind IN ('{PROVISIONAL}', "
        f"'{VERDICT}') AND instr(payload, ?) > 0) ORDER BY sequence"
    )
    with snapshot(path) as connection:
        return alarms_of(schema.select_rows(connection, clause, (_FLAGS,)))


def find_alarm(path: Path, key: str) -> Alarm:
    """Return the alarm of a slide, given any row in which the slide is flagged.

    key : row number, or 8 or more digits of its hash.

    Raises UsageError when the row is not a station's flag, StorageError.
    """
    row = find_row(path, key)
    sitting = row.content.get("sitting")
    if sitting and row.kind in (PROVISIONAL, VERDICT):
        found = next((alarm for alarm in read_alarms(path) if alarm.sitting == sitting), None)
        if found is not None:
            return found
    mend = "edgeapl journal acknowledge lists the flags that nobody has acknowledged"
    raise UsageError("row is not a station's flag", f"{key} in {path}", mend)


def acknowledge_flag(journal: Journal, alarm: Alarm, person: str) -> str:
    """Record who has seen a flag, and return the hash of the new row.

    Raises UsageError when it was acknowledged before, or the initials are missing.
    """
    person = person.strip()[:LONGEST_PERSON]
    if not person:
        raise UsageError("initials are missing", "", "say who has seen it")
    if alarm.acknowledged_by:
        by = f"{alarm.slide} by {alarm.acknowledged_by}"
        raise UsageError("flag was acknowledged before", by, "there is nothing left to do")
    said = {"slide": alarm.slide, "record": alarm.record, "person": person}
    return journal.append_event(ACKNOWLEDGEMENT, said)


def acknowledged(path: Path) -> dict[str, str]:
    """Return who has seen each flag: hash of the row that raised it to initials."""
    rows = read_rows(path, kinds=(ACKNOWLEDGEMENT,))
    return {str(row.content.get("record")): _person(row.content) for row in rows if row.consistent}


def alarms_of(rows: Iterable[Row]) -> tuple[Alarm, ...]:
    """Find the alarms in `rows`, oldest first.

    A flag counts even if its row was edited; an acknowledgement counts only if its row was not.
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
        codes=_codes(content.get("reasons")),
    )


def _codes(reasons: object) -> tuple[str, ...]:
    """Return the codes of reasons; a row that was edited may hold anything."""
    if not isinstance(reasons, list):
        return ()
    return tuple(str(one.get("code")) for one in reasons if isinstance(one, dict))


def _with_event(alarm: Alarm, kind: str, content: dict[str, Any]) -> Alarm:
    if kind == NOTICE:
        return replace(alarm, noticed=True)
    return replace(alarm, acknowledged_by=_person(content))


def _person(content: dict[str, Any]) -> str:
    return str(content.get("person", "")) or "unknown"
