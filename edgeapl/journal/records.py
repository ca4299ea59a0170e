"""Final verdicts together with what people said about them later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl.errors import UsageError
from edgeapl.journal.chain import AMENDMENT, VERDICT, Row
from edgeapl.journal.reader import find_row, read_rows, rows_with

CELL = "cell"
SIGN_OFF = "sign_off"
"""Fields that tell what an amendment refers to: one cell, or the whole verdict."""


@dataclass(frozen=True, slots=True)
class Record:
    """One final verdict.

    row : as committed; no amendment changes it.
    amendments : rows about this record, oldest first.
    """

    row: Row
    amendments: tuple[Row, ...] = ()

    @property
    def content(self) -> dict[str, Any]:
        """The verdict as plain JSON values."""
        return self.row.content

    @property
    def slide(self) -> str:
        """Identifier of the slide; other records may share it."""
        return str(self.content.get("slide", ""))

    @property
    def demonstration(self) -> bool:
        """Whether the slide is not a patient's; older records do not say."""
        return self.content.get("demonstration") is True

    @property
    def cells(self) -> tuple[Row, ...]:
        """Amendments that correct the class of a cell."""
        return tuple(row for row in self.amendments if CELL in row.content)

    @property
    def sign_offs(self) -> tuple[Row, ...]:
        """Amendments that are signatures; the last one counts."""
        return tuple(row for row in self.amendments if SIGN_OFF in row.content)


def records_of(rows: Iterable[Row]) -> list[Record]:
    """Group verdicts with their amendments, oldest verdict first; edited rows are skipped.

    An amendment belongs to the record it names. One made while the slide was still open names a
    provisional row; it belongs to the verdict of the same examination or, if an older version did
    not record that, to the slide's next verdict.
    """
    verdicts: list[Row] = []
    said: dict[str, list[Row]] = {}
    by_sitting: dict[str, str] = {}
    early: list[Row] = []
    for row in rows:
        if not row.consistent:
            continue
        content = row.content
        sitting = str(content.get("sitting", ""))
        if row.kind == VERDICT:
            verdicts.append(row)
            if sitting:
                by_sitting[sitting] = row.hash
            mine = [one for one in early if _belongs(one.content, content)]
            early = [one for one in early if one not in mine]
            said[row.hash] = mine
        elif row.kind == AMENDMENT:
            named = str(content.get("record", ""))
            owner = named if named in said else by_sitting.get(sitting)
            (early if owner is None else said[owner]).append(row)
    return [Record(row, tuple(said[row.hash])) for row in verdicts]


def _belongs(amendment: dict[str, Any], verdict: dict[str, Any]) -> bool:
    sitting = amendment.get("sitting")
    if sitting:
        return bool(sitting == verdict.get("sitting"))
    return bool(amendment.get("slide") == verdict.get("slide"))


def read_records(path: Path, last: int | None = None) -> list[Record]:
    """Return the records among the newest rows of verdicts and amendments, oldest first."""
    return records_of(read_rows(path, last, (VERDICT, AMENDMENT)))


def records_of_slide(path: Path, slide: str) -> list[Record]:
    """Return all records of one identifier, oldest first."""
    rows = [row for kind in (VERDICT, AMENDMENT) for row in rows_with(path, kind, "slide", slide)]
    return records_of(sorted(rows, key=lambda row: row.sequence))


def find_record(path: Path, key: str) -> Record:
    """Return the record with this row number or hash, see `find_row`.

    Raises UsageError when that row is not a final verdict.
    """
    row = find_row(path, key)
    if row.kind != VERDICT:
        mend = "name the row of a final verdict: see 'edgeapl journal history'"
        raise UsageError(f"row {row.sequence} is not a final verdict", f"({row.kind})", mend)
    of_slide = records_of_slide(path, str(row.content.get("slide", "")))
    return next(record for record in of_slide if record.row.hash == row.hash)
