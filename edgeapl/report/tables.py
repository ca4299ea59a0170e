"""Every cell and every frame of a slide as rows of CSV files, written while they come."""

from __future__ import annotations

import codecs
import csv
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeapl.report.cell_classes import CellKind
from edgeapl.report.outline import pixel_counts
from edgeapl.report.safe_names import table_text
from edgeapl.report.storage import replacing, storing, sync
from edgeapl.types import CellStatus, Detections, ExaminedFrame

BEFORE_ROLES = (
    "slide",
    "frame",
    "frame_number",
    "cell",
    "x0",
    "y0",
    "x1",
    "y1",
    "area_um2",
    "um_per_px",
    "detection_score",
    "status",
    "class",
)
AFTER_ROLES = ("suspicion",)
FRAME_COLUMNS = (
    "slide",
    "frame",
    "frame_number",
    "sha256",
    "width",
    "height",
    "um_per_px",
    "scale",
    "used",
    "cells",
    "scored",
    "not_examined",
    "failed",
    "not_needed",
    "reasons",
    "examined_share",
)


def cell_columns(roles: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of `cells.csv`.

    Boxes are px, half-open; a role's column holds its probability and is empty for a cell without
    a score. ``class`` is the class that people see: a role or ``other cell``, or nothing.
    """
    return (*BEFORE_ROLES, *roles, *AFTER_ROLES)


def role_columns(header: Sequence[str]) -> tuple[str, ...]:
    """Return the roles among the columns of a `cells.csv`, also of one without classes.

    Raises ValueError when it is not such a table.
    """
    first = max(header.index(name) for name in BEFORE_ROLES[-2:] if name in header) + 1
    return tuple(header[first : header.index(AFTER_ROLES[0])])


def cell_areas(detections: Detections) -> list[float]:
    """Return the area of every cell, µm²; that of its box for a cell without pixels."""
    pixels = pixel_counts(detections)
    sides = detections.boxes[:, 2:] - detections.boxes[:, :2]
    found = np.where(pixels > 0, pixels, sides.prod(axis=1))
    return [float(area) for area in found * detections.frame.um_per_px**2]


def cell_rows(
    slide: str,
    examined: ExaminedFrame,
    roles: Sequence[str],
    areas: Sequence[float],
    kinds: Sequence[CellKind],
) -> list[list[object]]:
    """Return one row per cell of a frame, in the order of `cell_columns`."""
    frame = examined.frame
    head = [table_text(slide), table_text(frame.source), frame.index]
    rows: list[list[object]] = []
    boxes, found = examined.detections.boxes.tolist(), examined.detections.scores.tolist()
    for row, cell in enumerate(examined.ids.tolist()):
        status = examined.status[row]
        values: list[object] = [""] * (len(roles) + 1)
        if status is CellStatus.SCORED:
            columns = [*(examined.roles[role] for role in roles), examined.suspicion]
            values = [f"{column[row]:.6g}" for column in columns]
        rows.append(
            [
                *head,
                cell,
                *(f"{edge:.6g}" for edge in boxes[row]),
                f"{areas[row]:.4g}",
                f"{frame.um_per_px:.6g}",
                f"{found[row]:.4g}",
                status.value,
                table_text(kinds[row].table_class),
                *values,
            ]
        )
    return rows


def frame_row(slide: str, examined: ExaminedFrame) -> list[object]:
    """Return the row of one frame, in the order of `FRAME_COLUMNS`."""
    frame = examined.frame
    return [
        table_text(slide),
        table_text(frame.source),
        frame.index,
        table_text(frame.digest),
        frame.width,
        frame.height,
        f"{frame.um_per_px:.6g}",
        frame.scale.value,
        "no" if examined.rejected else "yes",
        len(examined.ids),
        *(examined.status.count(status) for status in CellStatus),
        table_text("; ".join(reason.text for reason in examined.rejected)),
        f"{examined.examined_share:.4g}",
    ]


def replace_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a whole table as `TableFile` does; atomically replaces an existing one."""
    text = _csv([columns, *rows])
    with replacing(path) as file:
        file.write(text.encode("utf-8" if text.isascii() else "utf-8-sig"))


def _csv(rows: Sequence[Sequence[object]]) -> str:
    made = io.StringIO(newline="")
    csv.writer(made, lineterminator="\n").writerows(rows)
    return made.getvalue()


class TableFile:
    """A CSV file, UTF-8, that grows row by row. Raises StorageError.

    The first non-ASCII character adds a byte-order mark: Excel then shows umlauts, and pandas skips
    it. The file is open only while rows are written, so that an unfinished slide holds no file.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._marked = False
        self._write("x", [columns])

    def add(self, rows: Sequence[Sequence[object]]) -> None:
        """Append rows."""
        self._write("a", rows)

    def _write(self, mode: str, rows: Sequence[Sequence[object]]) -> None:
        text = _csv(rows)
        with storing(self._path):
            needs_mark = not (self._marked or text.isascii())
            if needs_mark and mode == "a":
                self._mark()
            encoding = "utf-8-sig" if needs_mark and mode == "x" else "utf-8"
            with self._path.open(mode, encoding=encoding, newline="") as file:
                file.write(text)
            self._marked = self._marked or needs_mark

    def _mark(self) -> None:
        """Insert the mark at the start of the file."""
        marked = self._path.with_name(self._path.name + ".marked")
        with marked.open("wb") as file, self._path.open("rb") as unmarked:
            file.write(codecs.BOM_UTF8)
            shutil.copyfileobj(unmarked, file)
        marked.replace(self._path)

    def finish(self) -> None:
        """Wait until all rows are on disk."""
        with storing(self._path), self._path.open("rb") as file:
            sync(file)
