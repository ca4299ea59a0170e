"""The flag of a slide that was left open, so that no restart takes it back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgeapl.journal import PROVISIONAL, VERDICT, read_rows
from edgeapl.journal.record import flag_of_record
from edgeapl.station.open_slide import OpenSlide
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
    recorded = flag_in_journal(journal, kept.about.slide)
    if recorded is not None:
        return recorded
    return (noted or NOT_NOTED) if kept.about.flagged else None


def flag_in_journal(journal: Path, slide: str) -> RaisedFlag | None:
    """Give the newest flag of a slide that has no final verdict since, and when it was raised."""
    newest: RaisedFlag | None = None
    since = ""
    for row in reversed(read_rows(journal, last=ROWS_LOOKED_AT)):
        if not row.consistent or row.content.get("slide") != slide:
            continue
        if row.kind == VERDICT:
            break
        flag = flag_of_record(row.content) if row.kind == PROVISIONAL else None
        if flag is not None:
            # A row of an older version does not say since when, but when it was written itself.
            newest, since = newest or flag, flag.since or row.time
    return None if newest is None else replace(newest, since=since)
