"""The client commits what a worker found: one writer for journal and results."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeapl.cluster.task import SlideAnswer, unpack
from edgeapl.journal import (
    VERDICT,
    Journal,
    row_with_hash,
    rows_with,
    same_verdict,
    verdict_from_json,
)
from edgeapl.merging.part_results import FinishedSlide
from edgeapl.merging.slide_copy import name_row
from edgeapl.report.results import put_in_place, unfinished_folder
from edgeapl.report.storage import storing


def commit_answer(
    answer: SlideAnswer, out: Path, journal: Journal, newest: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Commit the verdict, then put the slide's folder in its place; return its record.

    newest : of `newest_by_name`, for whoever commits many slides.

    Whoever is killed in between finds an unfinished folder and a verdict the next time, and the
    verdict is used again when the slide is answered alike. Raises StorageError.
    """
    slide = str(answer.record["slide"])
    home = unfinished_folder(out, slide, newest)
    known = _committed(answer, journal) if home.exists() else None
    with storing(home):
        if home.exists():
            shutil.rmtree(home)
        unpack(answer.folder, home)
    row = known or _commit(answer, out, journal)
    content = row_with_hash(journal.path, row).content
    name_row(FinishedSlide.of(home, answer.record), home, row, content)
    put_in_place(home, out, slide)
    return {**answer.record, **content, "journal_record": row}


def _commit(answer: SlideAnswer, out: Path, journal: Journal) -> str:
    verdict = verdict_from_json(answer.content)
    return journal.commit(
        replace(verdict, origin=replace(verdict.origin, results=str(out.resolve())))
    )


def _committed(answer: SlideAnswer, journal: Journal) -> str | None:
    """Return the row of this very verdict when it was committed before its folder was in place."""
    rows = rows_with(journal.path, VERDICT, "slide_key", str(answer.record["slide_key"]))
    if rows and same_verdict(rows[-1].content, answer.content):
        return rows[-1].hash
    return None
