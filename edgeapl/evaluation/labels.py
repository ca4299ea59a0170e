"""Reads the truth: the diagnosis of slides and patients, the class of cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.sources.table_file import (
    FILE_NAMES,
    PATIENT_NAMES,
    SLIDE_NAMES,
    Table,
    TableReader,
)
from edgeapl.wording.names import canonical_name, skeleton, spelled_out
from edgeapl.wording.printable import printable

LABEL_NAMES = ("label", "diagnosis", "class", "truth")
HOW = "columns: slide,label or patient,label or slide,patient,label (file,label for cells)"
_KINDS = {"slide": SLIDE_NAMES, "patient": PATIENT_NAMES, "file": FILE_NAMES, "label": LABEL_NAMES}
_READER = TableReader(
    what="labels",
    mend=HOW,
    fits=lambda columns: not set(LABEL_NAMES).isdisjoint(columns),
    own=tuple(name for names in _KINDS.values() for name in names),
    error=InputError,
)


@dataclass(frozen=True, slots=True)
class SlideLabel:
    """What is known about a slide: its label, and its patient.

    of_patient : the label holds for all slides of the patient, as the file lists no slides of hers.
    """

    label: str
    patient: str
    of_patient: bool = False


def read_slide_labels(path: Path) -> dict[str, SlideLabel]:
    """Map each slide to its label; names in Unicode NFC.

    If the file names patients only, a label holds for every slide of the patient, and for a slide
    named like the patient. Raises InputError that names the line or column.
    """
    table = _READER.read(path)
    columns = _columns(path, table)
    slide = columns.get("slide", columns.get("patient"))
    if slide is None:
        raise InputError("labels name neither slides nor patients", printable(path), HOW)
    patient = columns.get("patient", slide)
    labels: dict[str, SlideLabel] = {}
    words: dict[str, str] = {}
    for row in table.rows:
        name = canonical_name(row.cells[slide].strip())
        label = canonical_name(row.cells[columns["label"]].strip())
        where = f"{printable(path)}, line {row.line}"
        if not name or not label:
            raise InputError("label is empty", where, "fill it or remove it")
        if name in labels:
            raise InputError("slide is labelled twice", f"{where}: {name}", "keep one")
        of = canonical_name(row.cells[patient].strip()) or name
        labels[name] = SlideLabel(label, of, "slide" not in columns)
        other = words.setdefault(skeleton(label).casefold(), label)
        if other != label:
            shown = " and ".join(spelled_out(one) for one in (other, label))
            raise InputError("two labels are one word", f"{where}: {shown}", "write it in one way")
    return labels


def read_cell_labels(path: Path) -> dict[str, str]:
    """Map each image file (its name, or the end of its path) to the class of the cell in it."""
    table = _READER.read(path)
    columns = _columns(path, table)
    if "file" not in columns:
        raise InputError("labels of cells need a column 'file'", printable(path), HOW)
    labels: dict[str, str] = {}
    for row in table.rows:
        name = _compared(row.cells[columns["file"]].strip())
        if name in labels:
            where = f"{printable(path)}, line {row.line}: {printable(name)}"
            raise InputError("file is labelled twice", where, "keep one")
        labels[name] = canonical_name(row.cells[columns["label"]].strip())
    return labels


def label_of_file(labels: Mapping[str, str], file: str) -> str | None:
    """Return the label of an image: that of the longest labelled end of its path."""
    parts = Path(_compared(file)).parts
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((labels[end] for end in ends if end in labels), labels.get(_compared(file)))


def _compared(file: str) -> str:
    r"""Return a path as used for comparison: Unicode NFC, with ``/`` in place of Windows' ``\``."""
    return canonical_name(file).replace("\\", "/")


def _columns(path: Path, table: Table) -> dict[str, int]:
    """Find columns by their usual names; ambiguous ones are refused."""
    if not table.rows:
        raise InputError("labels are empty", printable(path), HOW)
    found: dict[str, int] = {}
    for kind, usual in _KINDS.items():
        places = [place for place, name in enumerate(table.columns) if name in usual]
        if len(places) > 1:
            both = ", ".join(printable(table.headings[place]) for place in places)
            where = f"{printable(path)}: {both}"
            raise InputError(f"two columns could be the {kind}", where, "rename one")
        if places:
            found[kind] = places[0]
    if "label" not in found:
        where = f"{printable(path)} (cells are separated by {table.separated_by})"
        raise InputError("labels have no column for the label", where, HOW)
    return found
