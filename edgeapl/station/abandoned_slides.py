"""Slides that were left open without stored frames: closed from the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from edgeapl.errors import StorageError
from edgeapl.journal import PROVISIONAL, VERDICT, Journal, Row, read_rows, rows_with
from edgeapl.journal.record import verdict_from_json
from edgeapl.report.folder_lock import lock_if_free
from edgeapl.station.frame_store import left_folders, read_metadata
from edgeapl.station.interruption import CUT_SHORT, without_clear
from edgeapl.station.recovery import reported
from edgeapl.types import Decision, Reason, Verdict
from edgeapl.wording.printable import printable

TEXT = "the station stopped while this slide was open, and no frame of it was kept"


def close_abandoned(
    results: Path,
    journal: Journal,
    late: Callable[[Path], tuple[str, ...]] = lambda folder: (),
) -> tuple[str, ...]:
    """Commit the final verdict of every such slide and return notices for people, in sentences.

    Frames of drawn slides, folders and films are not stored: they could be read again, but nobody
    does that under the same record. A FLAG stays a FLAG, everything else becomes a REVIEW.

    Parameters
    ----------
    results : the folder that this station has locked; see `edgeapl.report.folder_lock`.
    late : writes the missing reports of a folder; see `edgeapl.station.late_reports`.

    Slides of other folders are closed while no station has locked these. Slides with stored frames
    are left to the station of their folder. Raises StorageError.
    """
    notices: list[str] = []
    for place, sittings in {str(results.resolve()): [], **_unfinished(journal)}.items():
        folder = Path(place)
        with ExitStack() as locks:
            own = folder.resolve() == results.resolve()
            if not own and not locks.enter_context(lock_if_free(folder)):
                continue
            stored = set(_stored(folder))
            for sitting in sittings:
                if sitting not in stored:
                    notices += _close(folder, journal, sitting)
            notices += late(folder)
    return tuple(notices)


def _unfinished(journal: Journal) -> dict[str, list[str]]:
    """Return the examinations without a final verdict, by result folder."""
    unfinished: dict[str, str] = {}
    for row in read_rows(journal.path, kinds=(PROVISIONAL, VERDICT)):
        sitting = str(row.content.get("sitting", ""))
        if not sitting or not row.consistent:  # rows of older versions have none
            continue
        if row.kind == VERDICT:
            unfinished.pop(sitting, None)
        else:
            unfinished[sitting] = str(row.content.get("results", ""))
    places: dict[str, list[str]] = {}
    for sitting, place in unfinished.items():
        if place:
            places.setdefault(place, []).append(sitting)
    return places


def _stored(folder: Path) -> Iterator[str]:
    for one in left_folders(folder):
        try:
            yield read_metadata(one).sitting
        except StorageError:
            continue  # `recovery.recover` has set it aside


def _close(folder: Path, journal: Journal, sitting: str) -> list[str]:
    rows = rows_with(journal.path, PROVISIONAL, "sitting", sitting)
    slide = str(rows[-1].content.get("slide", ""))
    # Its own station may have closed it before it released the folder, or under another journal.
    if rows_with(journal.path, VERDICT, "sitting", sitting) or reported(folder, slide, sitting):
        return []
    try:
        verdict = _final(rows)
    except StorageError as error:
        return [printable(f"slide {slide} was left open and cannot be closed: {error}")]
    journal.commit(verdict)
    name = verdict.decision.value
    return [printable(f"slide {verdict.slide} was closed as {name}: {TEXT}")]


def _final(rows: Sequence[Row]) -> Verdict:
    """Return the final verdict that follows from the last provisional one; a FLAG stays."""
    flags = [row for row in rows if row.content.get("verdict") == Decision.FLAG.value]
    last = verdict_from_json((flags or list(rows))[-1].content)
    return without_clear(last, [Reason(CUT_SHORT, TEXT)])
