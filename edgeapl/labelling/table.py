"""All cells in one CSV file, one row per cell, with who gave it which class."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from edgeapl.labelling.cell import LabelledCell, LabelledFrame, LabelledSlide
from edgeapl.report.safe_names import table_text

NAME = "labels.csv"

COLUMNS = (
    *("slide", "record", "frame", "sha256", "frame_number", "cell"),
    *("x0", "y0", "x1", "y1", "width", "height", "um_per_px", "area_um2", "detection_score"),
    *("status", "class", "labelled_by", "machine_class"),
    *("corrected_class", "corrected_by", "corrected_at", "corrections", "file"),
)
"""Columns before the scores; docs/labels.md says what they mean."""


def table_bytes(slides: Sequence[LabelledSlide], files: Mapping[tuple[str, int], str]) -> bytes:
    """Return the table, UTF-8 with a byte-order mark, by which Excel recognises it.

    files : path of a cell's image, by the record's folder and the cell's number.
    """
    roles = list(dict.fromkeys(role for slide in slides for role in slide.roles))
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow([*COLUMNS, *(f"probability_{role}" for role in roles), "suspicion"])
    for slide in slides:
        for frame in slide.frames:
            for cell in frame.cells:
                file = files.get((slide.home.name, cell.number), "")
                scores = (cell.scores.get(name, "") for name in (*roles, "suspicion"))
                out.writerow([*_texts(_columns(slide, frame, cell, file)), *scores])
    return text.getvalue().encode("utf-8-sig")


def _columns(
    slide: LabelledSlide, frame: LabelledFrame, cell: LabelledCell, file: str
) -> list[object]:
    word = cell.correction
    said = ("", "", "") if word is None else (word.label, word.person, word.time)
    return [
        *(slide.slide, slide.record, frame.source, frame.digest, frame.number, cell.number),
        *(f"{edge:.6g}" for edge in cell.box),
        *(frame.width, frame.height, f"{frame.um_per_px:.6g}", cell.area_um2, cell.found),
        *(cell.status, cell.label, cell.labelled_by, cell.machine_class),
        *(*said, len(cell.corrections), file),
    ]


def _texts(values: Iterable[object]) -> Iterable[object]:
    return (table_text(value) if isinstance(value, str) else value for value in values)
