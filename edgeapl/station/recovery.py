"""Slides that the last run of a station left open, compared with the journal."""

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
from edgeapl.station.frame_store import (
    DISCARDED,
    OpenSlideMetadata,
    left_folders,
    read_metadata,
    write_metadata,
)
from edgeapl.wording.printable import printable

SET_ASIDE = "set-aside"
"""Folder of the results for stored frames that no longer belong to an open slide."""

ROWS_SEARCHED = 2000


@dataclass(frozen=True, slots=True)
class InterruptedSlides:
    """What a station finds when it starts.

    slides : those without a final verdict, oldest first.
    notices : sentences for people about everything else that was found.
    """

    slides: tuple[OpenSlideMetadata, ...]
    notices: tuple[str, ...]

    def begun_elsewhere(self, slide: str, journal: str) -> bool:
        """Whether a slide was begun under a journal other than the one with this id."""
        return any(one.slide == slide and one.journal not in ("", journal) for one in self.slides)


def recover(results: Path, journal: Journal) -> InterruptedSlides:
    """Find the interrupted slides of a result folder and clear away what is finished.

    Stored frames of a slide with a final verdict are removed, or set aside when its report is
    missing. Unreadable metadata is restored from the journal. Frames that belong to no known slide
    are set aside: never lost, never judged. Raises StorageError.
    """
    with storing(results / DISCARDED):
        if (results / DISCARDED).is_dir():
            shutil.rmtree(results / DISCARDED)
    slides, notices = [], []
    for folder in left_folders(results):
        metadata = _stored_metadata(folder) or _metadata_from_journal(folder, journal)
        if metadata is None:
            notices += _set_aside_unknown(results, folder)
            continue
        final = _final_row(results, metadata, journal)
        if final is None:
            slides.append(metadata)
        else:
            notices += _clear_finished(results, folder, metadata, final)
    slides.sort(key=lambda one: one.started)
    return InterruptedSlides(tuple(slides), tuple(notices))


def _stored_metadata(folder: Path) -> OpenSlideMetadata | None:
    """Read the metadata beside the frames; None when it is damaged or another slide's."""
    try:
        metadata = read_metadata(folder)
    except StorageError:
        return None
    return metadata if safe_name(metadata.slide) == folder.name else None


def _metadata_from_journal(folder: Path, journal: Journal) -> OpenSlideMetadata | None:
    """Find in the journal which slide was open in a folder, and store that there."""
    for row in reversed(read_rows(journal.path, ROWS_SEARCHED)):
        if row.kind not in (PROVISIONAL, VERDICT) or not row.consistent:
            continue
        slide = str(row.content.get("slide"))
        if safe_name(slide) != folder.name:
            continue
        if row.kind == VERDICT:
            return None
        sitting = str(row.content.get("sitting", ""))
        identity = journal.identity
        metadata = OpenSlideMetadata(slide, row.time, sitting=sitting, journal=identity)
        write_metadata(folder, metadata)
        return metadata
    return None


def _final_row(results: Path, metadata: OpenSlideMetadata, journal: Journal) -> str | None:
    """Return the hash of an examination's final verdict; None while it has none."""
    for row in _final_rows(metadata, journal):
        return row.hash
    return reported(results, metadata.slide, metadata.sitting)


def reported(results: Path, slide: str, sitting: str) -> str | None:
    """Return the row's hash in an examination's report; the row may be in another journal."""
    for record in finished_records(results, slide) if sitting else ():
        if record.get("sitting") == sitting:
            return str(record.get("journal_record"))
    return None


def _final_rows(metadata: OpenSlideMetadata, journal: Journal) -> Iterator[Row]:
    if metadata.sitting:
        yield from rows_with(journal.path, VERDICT, "sitting", metadata.sitting)
        return
    # Stored by an older version: only name and time identify it.
    started = _parsed_time(metadata.started)
    for row in rows_with(journal.path, VERDICT, "slide", metadata.slide):
        closed = _parsed_time(row.time)
        if started is None or closed is None or closed >= started:
            yield row


def _parsed_time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def _clear_finished(
    results: Path, folder: Path, metadata: OpenSlideMetadata, record: str
) -> list[str]:
    """Remove the stored frames of a slide with a verdict, or set them aside; return notices."""
    slide = metadata.slide
    if any(found.get("journal_record") == record for found in finished_records(results, slide)):
        discard(results, folder)
        return []
    place = set_aside(results, folder)
    text = f"slide {slide} has its verdict ({record[:16]}) but no report: frames are in {place}"
    return [printable(text)]


def _set_aside_unknown(results: Path, folder: Path) -> list[str]:
    """Set aside frames of an unknown slide, or remove an empty folder; return notices."""
    if not any(folder.iterdir()):
        folder.rmdir()
        return []
    place = set_aside(results, folder)
    return [printable(f"kept frames without a readable slide.json were not judged: see {place}")]


def discard(results: Path, folder: Path) -> None:
    """Remove a folder of stored frames; the next start ignores it even if this is interrupted."""
    place = _moved(folder, results / DISCARDED)
    with storing(place):
        shutil.rmtree(place)


def set_aside(results: Path, folder: Path) -> Path:
    """Move a folder of stored frames out of the way; return its new place. Raises StorageError."""
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
