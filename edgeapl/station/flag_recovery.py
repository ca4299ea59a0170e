"""The flag of a slide that was left open, so that no restart takes it back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edgeapl.journal import PROVISIONAL, VERDICT, Row, read_rows, rows_with
from edgeapl.journal.record import flag_of_record
from edgeapl.station.open_slide import About, OpenSlide
from edgeapl.types import NOT_NOTED, RaisedFlag

ROWS_LOOKED_AT = 2000
"""Newest rows of the journal among which an open slide's flag is looked for."""


def flag_taken_up(kept: OpenSlide, journal: Path) -> RaisedFlag | None:
    """Give the flag that was raised on a slide before it was taken up; None without one.

    It stands in the journal before it stands beside the kept frames: a station that was ended in
    between has it there alone, and so has one of an older version its figures.
    """
    if not kept.taken_up:
        return None
    noted = kept.about.flag
    if noted is not None and noted.figures is not None:
        return noted
    recorded = flag_in_journal(journal, kept.about)
    if recorded is not None:
        return recorded
    return (noted or NOT_NOTED) if kept.about.flagged else None


def flag_in_journal(journal: Path, about: About) -> RaisedFlag | None:
    """Give the newest flag that was committed for an open slide, and when it was first raised."""
    newest: RaisedFlag | None = None
    since = ""
    for row in _rows(journal, about):
        flag = flag_of_record(row.content)
        if flag is not None:
            # A row of an older version does not say since when, but when it was written itself.
            newest, since = newest or flag, flag.since or row.time
    return None if newest is None else replace(newest, since=since)


def _rows(journal: Path, about: About) -> Iterator[Row]:
    """Give what was committed for an open slide so far, newest first."""
    if about.sitting:
        yield from reversed(rows_with(journal, PROVISIONAL, "sitting", about.sitting))
        return
    # Kept by an older version: only its name and its last final verdict tell.
    for row in reversed(read_rows(journal, last=ROWS_LOOKED_AT)):
        if row.consistent and row.content.get("slide") == about.slide:
            if row.kind == VERDICT:
                return
            if row.kind == PROVISIONAL:
                yield row
