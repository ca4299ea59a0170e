"""Final verdicts together with what people said of them later."""

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
"""Fields that tell what an amendment is about: one cell, or the verdict as a whole."""


@dataclass(frozen=True, slots=True)
class Record:
    """One final verdict.

    row : as committed; nothing that people say changes it.
    amendments : rows about this very record, oldest first.
    """

    row: Row
    amendments: tuple[Row, ...] = ()

    @property
    def content(self) -> dict[str, Any]:
        """The verdict as plain values."""
        return self.row.content

    @property
    def slide(self) -> str:
        """Identifier of the slide; other records may have the same."""
        return str(self.content.get("slide", ""))

    @property
    def demonstration(self) -> bool:
        """Whether it is no patient's; records of older versions do not say so."""
        return self.content.get("demonstration") is True

    @property
    def cells(self) -> tuple[Row, ...]:
        """Amendments that call a cell otherwise."""
        return tuple(row for row in self.amendments if CELL in row.content)

    @property
    def sign_offs(self) -> tuple[Row, ...]:
        """Amendments in which a person signed; the last one counts."""
        return tuple(row for row in self.amendments if SIGN_OFF in row.content)


def records_of(rows: Iterable[Row]) -> list[Record]:
    """Bring verdicts and amendments together, oldest verdict first; edited rows are left out.

    An amendment belongs to the record it names. What was said while the slide was still open names
    a provisional row; it belongs to the verdict of the same examination, or, where an older version
    did not note that, to the slide's next verdict.
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
    """Give the records among the newest rows that are verdicts or amendments, oldest first."""
    return records_of(read_rows(path, last, (VERDICT, AMENDMENT)))


def records_of_slide(path: Path, slide: str) -> list[Record]:
    """Give all records of one identifier, oldest first."""
    rows = [row for kind in (VERDICT, AMENDMENT) for row in rows_with(path, kind, "slide", slide)]
    return records_of(sorted(rows, key=lambda row: row.sequence))


def find_record(path: Path, key: str) -> Record:
    """Give the record with a row number or hash, as in `find_row`.

    Raises UsageError when that row is no final verdict.
    """
    row = find_row(path, key)
    if row.kind != VERDICT:
        mend = "name the row of a final verdict: see 'edgeapl journal history'"
        raise UsageError(f"row {row.sequence} is no final verdict", f"({row.kind})", mend)
    of_slide = records_of_slide(path, str(row.content.get("slide", "")))
    return next(record for record in of_slide if record.row.hash == row.hash)
