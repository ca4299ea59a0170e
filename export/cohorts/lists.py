"""Write a cohort as the lists that all other commands take."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.export.cohorts.cohort import Cohort
from edgeapl.report.storage import storing, write_new
from edgeapl.wording.printable import printable

SLIDES, LABELS, CELLS = "slides.csv", "labels.csv", "cells.csv"


def write_lists(cohort: Cohort, folder: Path) -> tuple[Path, ...]:
    """Write ``slides.csv`` and ``labels.csv`` of patients, ``cells.csv`` of single cells.

    A list that would be empty is not written. ``cells.csv`` names images of which each is one
    cell of one known kind, or, with boxes, every box. The images stay where they are: the lists
    name them by their absolute paths. Raises StorageError when one of the lists is there already,
    InputError when there is nothing to list.
    """
    lists = {
        SLIDES: _table(("slide", "file", "patient", "um_per_px"), _slides(cohort)),
        LABELS: _table(("patient", "label"), _labels(cohort)),
        CELLS: _table(*_cells(cohort)),
    }
    wanted = {name: text for name, text in lists.items() if text}
    if not wanted:
        raise InputError("nothing to list", printable(cohort.name), "no patient and no cell")
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in wanted.items():
        write_new(folder / name, text.encode("utf-8"))
    return tuple(folder / name for name in wanted)


def _slides(cohort: Cohort) -> Iterable[tuple[str, ...]]:
    scale = "" if cohort.um_per_px is None else f"{cohort.um_per_px:.6g}"
    for patient in cohort.patients:
        for image in patient.images:
            yield patient.name, str(image.resolve()), patient.name, scale


def _labels(cohort: Cohort) -> Iterable[tuple[str, ...]]:
    for patient in cohort.patients:
        if patient.diagnosis:
            yield patient.name, patient.diagnosis


def _cells(cohort: Cohort) -> tuple[tuple[str, ...], Iterable[tuple[str, ...]]]:
    cells = [cell for cell in cohort.cells if cell.kinds]
    if any(cell.box is not None for cell in cells):
        heading = ("file", "left", "top", "right", "bottom", "label")
        return heading, (
            (str(cell.file.resolve()), *map(str, cell.box or ()), " ".join(cell.kinds))
            for cell in cells
        )
    return ("file", "label"), ((str(cell.file.resolve()), cell.kinds[0]) for cell in cells)


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    kept = list(rows)
    if not kept:
        return ""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(heading)
    out.writerows(kept)
    return text.getvalue()
