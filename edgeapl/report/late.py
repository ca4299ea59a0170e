"""A report that is written after the program was ended: from what lies in the unfinished folder."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from edgeapl.report.context import ReportContext
from edgeapl.report.gallery import Gallery
from edgeapl.report.page import render_page
from edgeapl.report.results import (
    CELLS,
    FRAMES,
    REPORT,
    VERDICT,
    put_in_place,
    record_line,
    unfinished_folder,
)
from edgeapl.report.storage import replacing, storing, write_new_synced
from edgeapl.report.tables import FRAME_COLUMNS, cell_columns
from edgeapl.report.writer import utc_now
from edgeapl.types import CellStatus

Rows = list[dict[str, str]]


def late_report(
    results: Path,
    slide: str,
    context: ReportContext,
    record: Mapping[str, Any],
    journal_record: str,
    now: Callable[[], datetime] = utc_now,
) -> Path:
    """Write the page and the verdict of a slide that was left open, and put its folder in place.

    The tables, overlays and outlines of the frames that were finished stay; pictures of single
    cells are gone. Gives the page. Raises StorageError.

    Parameters
    ----------
    results : the result folder. context : of the bundle that gave the verdict.
    record : the verdict as plain JSON values. journal_record : hash of its row.
    """
    home = unfinished_folder(results, slide)
    with storing(home):
        home.mkdir(parents=True, exist_ok=True)
        for name in (REPORT, VERDICT):
            (home / name).unlink(missing_ok=True)
        cells = _whole(home / CELLS, cell_columns(tuple(context.roles)))
        frames = _whole(home / FRAMES, FRAME_COLUMNS)
        overlays = len(list((home / "overlays").glob("*.png")))
    page = render_page(
        record, journal_record, context, _counted(context, cells, frames, overlays), now()
    )
    write_new_synced(home / REPORT, page.encode("utf-8"))
    write_new_synced(home / VERDICT, record_line(record))
    return put_in_place(home, results, slide) / REPORT


def _whole(path: Path, columns: Sequence[str]) -> Rows:
    """Give the rows of a table; a last line that was cut off, or all of a damaged one, is left out.

    Other columns than these, as of another version, make it a damaged one.
    """
    text = path.read_bytes() if path.is_file() else b""
    whole = text[: text.rfind(b"\n") + 1]
    try:
        reader = csv.DictReader(whole.decode("utf-8-sig").splitlines(keepends=True), strict=True)
        if tuple(reader.fieldnames or ()) == tuple(columns):
            rows = list(reader)
            if whole != text:
                with replacing(path) as file:
                    file.write(whole)
            return rows
    except (csv.Error, UnicodeDecodeError):
        pass  # as if it were not there: what counts stands in the journal
    with replacing(path) as file:
        file.write((",".join(columns) + "\n").encode())
    return []


def _counted(context: ReportContext, cells: Rows, frames: Rows, overlays: int) -> Gallery:
    """Count what the tables hold; the page says where that is less than the verdict."""
    gallery = Gallery(context)
    gallery.frames_used = sum(row["used"] == "yes" for row in frames)
    gallery.frames_rejected = len(frames) - gallery.frames_used
    gallery.frames_not_drawn = max(0, gallery.frames_used - overlays)
    gallery.suspicious = sum(row["class"] in context.suspicious_roles for row in cells)
    states = [row["status"] for row in cells]
    gallery.cells = {status: states.count(status.value) for status in CellStatus}
    return gallery
