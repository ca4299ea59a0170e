"""Restores the flag of a slide that was left open, so that no restart takes it back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edgeapl.journal import PROVISIONAL, VERDICT, Row, read_rows, rows_with
from edgeapl.journal.record import flag_of_record
from edgeapl.station.frame_store import FrameStore, OpenSlideMetadata
from edgeapl.types import NOT_NOTED, RaisedFlag

ROWS_SEARCHED = 2000
"""Newest rows of the journal that are searched for an open slide's flag."""


def recovered_flag(store: FrameStore, journal: Path) -> RaisedFlag | None:
    """Return the flag that was raised on a slide before it was interrupted; None without one.

    A flag is committed to the journal before it is stored beside the frames, so a station that was
    ended in between has it in the journal alone. Older versions stored its figures only there.
    """
    if not store.resumed:
        return None
    stored = store.metadata.flag
    if stored is not None and stored.figures is not None:
        return stored
    recorded = flag_in_journal(journal, store.metadata)
    if recorded is not None:
        return recorded
    return (stored or NOT_NOTED) if store.metadata.flagged else None


def flag_in_journal(journal: Path, metadata: OpenSlideMetadata) -> RaisedFlag | None:
    """Return the newest flag committed for an open slide, with the time it was first raised."""
    newest: RaisedFlag | None = None
    since = ""
    for row in _rows(journal, metadata):
        flag = flag_of_record(row.content)
        if flag is not None:
            # Rows of older versions lack this time; the row's own is the best there is.
            newest, since = newest or flag, flag.since or row.time
    return None if newest is None else replace(newest, since=since)


def _rows(journal: Path, metadata: OpenSlideMetadata) -> Iterator[Row]:
    """Yield the provisional rows of an open slide, newest first."""
    if metadata.sitting:
        yield from reversed(rows_with(journal, PROVISIONAL, "sitting", metadata.sitting))
        return
    # Stored by an older version: only its name and its last final verdict identify it.
    for row in reversed(read_rows(journal, last=ROWS_SEARCHED)):
        if row.consistent and row.content.get("slide") == metadata.slide:
            if row.kind == VERDICT:
                return
            if row.kind == PROVISIONAL:
                yield row
