"""Writes the report of a slide whose program was ended, from its unfinished folder."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeapl.report.context import ReportContext
from edgeapl.report.gallery import FramePicture, Gallery
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
from edgeapl.report.storage import storing, write_new_synced
from edgeapl.report.tables import FRAME_COLUMNS, cell_columns, replace_table
from edgeapl.types import CellStatus
from edgeapl.wall_clock import utc_now

Rows = list[dict[str, str]]


def late_report(
    results: Path,
    slide: str,
    context: ReportContext,
    record: Mapping[str, Any],
    journal_record: str,
    now: Callable[[], datetime] = utc_now,
) -> Path:
    """Write page and verdict of a slide that was left open, and return the page's path.

    The tables keep the frames that the verdict counts; all overlays and outlines stay. Pictures of
    single cells are lost, and so are the parts of frames that could not be examined. Raises
    StorageError.

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
        cells, frames = _judged(_rows(home / CELLS), _rows(home / FRAMES), record)
        for name, columns, rows in (
            (CELLS, cell_columns(tuple(context.roles)), cells),
            (FRAMES, FRAME_COLUMNS, frames),
        ):
            table = [[row.get(column, "") for column in columns] for row in rows]
            replace_table(home / name, columns, table)
        gallery = _counted(context, cells, frames)
        _add_overlays(gallery, home / "overlays", cells, frames)
    page = render_page(record, journal_record, context, gallery, now())
    write_new_synced(home / REPORT, page.encode("utf-8"))
    write_new_synced(home / VERDICT, record_line(record))
    return put_in_place(home, results, slide) / REPORT


def _rows(path: Path) -> Rows:
    """Return the rows of a table without a truncated last line; none of a damaged table."""
    text = path.read_bytes() if path.is_file() else b""
    whole = text[: text.rfind(b"\n") + 1]
    try:
        reader = csv.DictReader(whole.decode("utf-8-sig").splitlines(keepends=True), strict=True)
        return [{name: value or "" for name, value in row.items() if name} for row in reader]
    except (csv.Error, UnicodeDecodeError):
        return []  # as if it were missing: the journal has the verdict


def _judged(cells: Rows, frames: Rows, record: Mapping[str, Any]) -> tuple[Rows, Rows]:
    """Drop the frames that came after the last committed verdict."""
    by_frame = Counter(row.get("frame_number", "") for row in cells)
    room = int(record["tally"]["seen"])
    kept: Rows = []
    for frame in frames:
        room -= by_frame[frame.get("frame_number", "")]
        if room < 0:
            break
        kept.append(frame)
    numbers = {frame["frame_number"] for frame in kept if "frame_number" in frame}
    return [row for row in cells if row.get("frame_number") in numbers], kept


def _counted(context: ReportContext, cells: Rows, frames: Rows) -> Gallery:
    """Count the cells of the tables; the page shows where the verdict has more."""
    gallery = Gallery(context)
    gallery.frames_used = sum(row.get("used") == "yes" for row in frames)
    gallery.frames_rejected = len(frames) - gallery.frames_used
    gallery.suspicious = sum(row.get("class") in context.suspicious_roles for row in cells)
    states = [row.get("status", "") for row in cells]
    gallery.cells = {status: states.count(status.value) for status in CellStatus}
    return gallery


def _add_overlays(gallery: Gallery, folder: Path, cells: Rows, frames: Rows) -> None:
    """Add the frames whose overlay was written completely."""
    suspicious = Counter(
        row["frame_number"] for row in cells if row.get("class") in gallery.context.suspicious_roles
    )
    by_number = {row["frame_number"]: row for row in frames if row.get("used") == "yes"}
    gallery.frames_not_drawn = gallery.frames_used
    for path in sorted(folder.glob("*.png")):
        number = path.name.partition("-")[0].lstrip("0") or "0"
        row = by_number.get(number)
        data = np.frombuffer(path.read_bytes(), np.uint8)
        overlay = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        if row is None or overlay is None:
            continue
        gallery.frames_not_drawn -= 1
        found, count = int(row.get("cells") or 0), suspicious[number]
        picture = FramePicture(int(number), row.get("frame", ""), found, count, path.name, b"")
        gallery.add_drawn(picture, 0.0, np.asarray(overlay[:, :, ::-1], dtype=np.uint8))
