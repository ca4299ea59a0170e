"""Slides that were left open and of which no frame was kept: closed by what the journal says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from edgeapl.errors import StorageError
from edgeapl.journal import PROVISIONAL, VERDICT, Journal, Row, read_rows, rows_with
from edgeapl.journal.record import verdict_from_json
from edgeapl.report.folder_lock import held_by_nobody
from edgeapl.station.interruption import CUT_SHORT, barred
from edgeapl.station.open_slide import left_folders, read_about
from edgeapl.station.recovery import reported
from edgeapl.types import Decision, Reason, Verdict
from edgeapl.wording.printable import printable

TEXT = "the station stopped while this slide was open, and no frame of it was kept"


def close_abandoned(
    results: Path,
    journal: Journal,
    late: Callable[[Path], tuple[str, ...]] = lambda folder: (),
) -> tuple[str, ...]:
    """Commit the final verdict of every such slide; gives what a person should know, in sentences.

    Of drawn slides, folders and films no frame is kept: they can be read again, but under the same
    record nobody does. A FLAG stays one, everything else is a REVIEW.

    Parameters
    ----------
    results : the folder that this station holds, see `edgeapl.report.folder_lock.claimed`.
    late : writes what reports are missing in a folder; see `edgeapl.station.late_reports`.

    Slides of other folders are closed while no station holds these. Slides with kept frames are
    left to the station of their folder. Raises StorageError.
    """
    said: list[str] = []
    for place, sittings in {str(results.resolve()): [], **_left(journal)}.items():
        folder = Path(place)
        with ExitStack() as held:
            mine = folder.resolve() == results.resolve()
            if not mine and not held.enter_context(held_by_nobody(folder)):
                continue
            kept = set(_kept(folder))
            for sitting in sittings:
                if sitting not in kept:
                    said += _closed(folder, journal, sitting)
            said += late(folder)
    return tuple(said)


def _left(journal: Journal) -> dict[str, list[str]]:
    """Give the examinations without a final verdict, by their result folders."""
    left: dict[str, str] = {}
    for row in read_rows(journal.path, kinds=(PROVISIONAL, VERDICT)):
        sitting = str(row.content.get("sitting", ""))
        if not sitting or not row.consistent:  # in rows of older versions there is none
            continue
        if row.kind == VERDICT:
            left.pop(sitting, None)
        else:
            left[sitting] = str(row.content.get("results", ""))
    places: dict[str, list[str]] = {}
    for sitting, place in left.items():
        if place:
            places.setdefault(place, []).append(sitting)
    return places


def _kept(folder: Path) -> Iterator[str]:
    for one in left_folders(folder):
        try:
            yield read_about(one).sitting
        except StorageError:
            continue  # `left_open.settle` has set it aside


def _closed(folder: Path, journal: Journal, sitting: str) -> list[str]:
    rows = rows_with(journal.path, PROVISIONAL, "sitting", sitting)
    slide = str(rows[-1].content.get("slide", ""))
    # Its own station may have closed it before it let go, or under another journal.
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
    """Give the verdict that follows from the last one before the end; a FLAG is never lost."""
    flags = [row for row in rows if row.content.get("verdict") == Decision.FLAG.value]
    last = verdict_from_json((flags or list(rows))[-1].content)
    return barred(last, [Reason(CUT_SHORT, TEXT)])
