"""What the last run of a station left open, settled by what the journal says of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edgeapl.errors import StorageError
from edgeapl.journal import PROVISIONAL, VERDICT, Journal, Row, read_rows, rows_with
from edgeapl.report.results import finished_records
from edgeapl.report.safe_names import safe_name
from edgeapl.report.storage import storing
from edgeapl.station.open_slide import (
    DISCARDED,
    About,
    left_folders,
    read_about,
    write_about,
)
from edgeapl.wording.printable import printable

SET_ASIDE = "set-aside"
"""Folder of the results for kept frames that no slide is made of any more."""

ROWS_LOOKED_AT = 2000


@dataclass(frozen=True, slots=True)
class LeftOpen:
    """What is to be done on start.

    slides : have no final verdict yet, oldest first.
    said : what a person should know about all else that was found, in sentences.
    """

    slides: tuple[About, ...]
    said: tuple[str, ...]

    def begun_elsewhere(self, slide: str, journal: str) -> bool:
        """Say whether a slide was begun under another journal than the one with this id."""
        return any(
            about.slide == slide and about.journal not in ("", journal) for about in self.slides
        )


def settle(results: Path, journal: Journal) -> LeftOpen:
    """Sort what lies among the open slides of a result folder.

    A slide with a final verdict is done: what was kept of it is removed, or set aside when its
    report is not there. What is known of a slide and cannot be read is taken from the journal;
    frames that belong to nobody are set aside, never lost and never judged. Raises StorageError.
    """
    with storing(results / DISCARDED):
        if (results / DISCARDED).is_dir():
            shutil.rmtree(results / DISCARDED)
    slides, said = [], []
    for folder in left_folders(results):
        about = _known(folder) or _recorded(folder, journal)
        if about is None:
            said += _strangers(results, folder)
            continue
        closed = _closing_row(results, about, journal)
        if closed is None:
            slides.append(about)
        else:
            said += _done(results, folder, about, closed)
    slides.sort(key=lambda about: about.started)
    return LeftOpen(tuple(slides), tuple(said))


def _known(folder: Path) -> About | None:
    """Read what lies beside the frames; None when it is damaged or another slide's."""
    try:
        about = read_about(folder)
    except StorageError:
        return None
    return about if safe_name(about.slide) == folder.name else None


def _recorded(folder: Path, journal: Journal) -> About | None:
    """Find in the journal which slide was open in a folder, and write it down there."""
    for row in reversed(read_rows(journal.path, ROWS_LOOKED_AT)):
        if row.kind not in (PROVISIONAL, VERDICT) or not row.consistent:
            continue
        slide = str(row.content.get("slide"))
        if safe_name(slide) != folder.name:
            continue
        if row.kind == VERDICT:
            return None
        sitting = str(row.content.get("sitting", ""))
        about = About(slide, row.time, sitting=sitting, journal=journal.identity)
        write_about(folder, about)
        return about
    return None


def _closing_row(results: Path, about: About, journal: Journal) -> str | None:
    """Give the hash of the final verdict of a slide's examination; None while it has none."""
    for row in _finals(about, journal):
        return row.hash
    return reported(results, about.slide, about.sitting)


def reported(results: Path, slide: str, sitting: str) -> str | None:
    """Give the hash that the report of an examination names, maybe of a row of another journal."""
    for record in finished_records(results, slide) if sitting else ():
        if record.get("sitting") == sitting:
            return str(record.get("journal_record"))
    return None


def _finals(about: About, journal: Journal) -> Iterator[Row]:
    if about.sitting:
        yield from rows_with(journal.path, VERDICT, "sitting", about.sitting)
        return
    # Kept by an older version: only name and time tell.
    started = _moment(about.started)
    for row in rows_with(journal.path, VERDICT, "slide", about.slide):
        closed = _moment(row.time)
        if started is None or closed is None or closed >= started:
            yield row


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _done(results: Path, folder: Path, about: About, record: str) -> list[str]:
    """Clear away what was kept of a slide that has its verdict."""
    reported = any(
        found.get("journal_record") == record for found in finished_records(results, about.slide)
    )
    if reported:
        discard(results, folder)
        return []
    place = set_aside(results, folder)
    text = (
        f"slide {about.slide} has its verdict ({record[:16]}) but no report: frames are in {place}"
    )
    return [printable(text)]


def _strangers(results: Path, folder: Path) -> list[str]:
    """Set aside frames of which nobody knows whose they are; an empty folder is just removed."""
    if not any(folder.iterdir()):
        folder.rmdir()
        return []
    place = set_aside(results, folder)
    return [printable(f"kept frames without a readable slide.json were not judged: see {place}")]


def discard(results: Path, folder: Path) -> None:
    """Remove a folder of kept frames: gone at once for the next start, however far this comes."""
    place = _moved(folder, results / DISCARDED)
    with storing(place):
        shutil.rmtree(place)


def set_aside(results: Path, folder: Path) -> Path:
    """Move a folder of kept frames out of the way and give its new place. Raises StorageError."""
    return _moved(folder, results / SET_ASIDE)


def _moved(folder: Path, to: Path) -> Path:
    with storing(to):
        to.mkdir(parents=True, exist_ok=True)
        number, place = 1, to / folder.name
        while place.exists():
            number += 1
            place = to / f"{folder.name}.{number}"
        folder.rename(place)
    return place
