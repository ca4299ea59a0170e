"""Read what is known: the diagnosis of slides and patients, the class of cells."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeapl.errors import InputError

SLIDE_NAMES = ("slide", "slide_id", "smear")
PATIENT_NAMES = ("patient", "patient_id", "case")
FILE_NAMES = ("file", "image", "cell", "filename")
LABEL_NAMES = ("label", "diagnosis", "class", "truth")
HOW = "columns: slide,label or patient,label or slide,patient,label (file,label for cells)"


@dataclass(frozen=True, slots=True)
class SlideLabel:
    """What is known about a slide: its label, and its patient."""

    label: str
    patient: str


def read_slide_labels(path: Path) -> dict[str, SlideLabel]:
    """Read slide to label; where the file names patients alone, a slide is named like its patient.

    Raises InputError that names the line or column.
    """
    rows = _read(path)
    columns = _columns(path, rows[0])
    slide = columns.get("slide", columns.get("patient"))
    if slide is None:
        raise InputError("labels name neither slides nor patients", path, HOW)
    patient = columns.get("patient", slide)
    labels: dict[str, SlideLabel] = {}
    for number, row in enumerate(rows[1:], start=2):
        name, label = row[slide].strip(), row[columns["label"]].strip()
        if not name or not label:
            raise InputError("label is empty", f"{path}, line {number}", "fill it or remove it")
        if name in labels:
            raise InputError(
                "slide is labelled twice", f"{path}, line {number}: {name}", "keep one"
            )
        labels[name] = SlideLabel(label, row[patient].strip() or name)
    return labels


def read_cell_labels(path: Path) -> dict[str, str]:
    """Read image file (its name, or the end of its path) to the class of the cell in it."""
    rows = _read(path)
    columns = _columns(path, rows[0])
    if "file" not in columns:
        raise InputError("labels of cells need a column 'file'", path, HOW)
    labels: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        name = row[columns["file"]].strip()
        if name in labels:
            raise InputError("file is labelled twice", f"{path}, line {number}: {name}", "keep one")
        labels[name] = row[columns["label"]].strip()
    return labels


def label_of_file(labels: Mapping[str, str], file: str) -> str | None:
    """Find the label of an image by the longest end of its path that is labelled."""
    parts = Path(file).parts
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((labels[end] for end in ends if end in labels), labels.get(file))


def _read(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("labels cannot be read", path, str(error)) from error
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise InputError("labels are empty", path, HOW)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            mend = f"expected {len(rows[0])} cells, got {len(row)}"
            raise InputError("labels have a broken line", f"{path}, line {number}", mend)
    return rows


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    """Find columns by their usual names; two that could both be meant are refused."""
    names = [name.strip().casefold() for name in header]
    found: dict[str, int] = {}
    kinds = {
        "slide": SLIDE_NAMES,
        "patient": PATIENT_NAMES,
        "file": FILE_NAMES,
        "label": LABEL_NAMES,
    }
    for kind, usual in kinds.items():
        places = [place for place, name in enumerate(names) if name in usual]
        if len(places) > 1:
            both = ", ".join(header[place] for place in places)
            raise InputError(f"two columns could be the {kind}", f"{path}: {both}", "rename one")
        if places:
            found[kind] = places[0]
    if "label" not in found:
        raise InputError("labels have no column for the label", path, HOW)
    return found
