"""The bone-marrow set of Eckardt et al. 2022: fields in ``wsi/``, and a CSV of boxes of cells.

Every field is of another person. A CSV with the columns wsi_id (or wsi) and diagnosis gives the
diagnoses; without one the set teaches cells alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.export.cohorts.cohort import Box, Cohort, CohortCell, CohortPatient
from edgeapl.export.cohorts.tree import check_apart, check_known, first_folder, images_in
from edgeapl.sources.table_file import Table, TableReader, TableRow
from edgeapl.wording.printable import printable

UM_PER_PX = 171 / 2560
"""A field of 2560 px shows 171 µm (Eckardt et al. 2022, Methods)."""

CLASSES = frozenset({
    "auer_rods",
    "band",
    "basophil",
    "bilobed",
    "eosinophil",
    "erythroblast",
    "erythrocyte",
    "faggot_cell",
    "granulocyte",
    "lymphoblast",
    "lymphocyte",
    "megakaryocyte",
    "metamyelocyte",
    "mitosis",
    "monoblast",
    "monocyte",
    "myeloblast",
    "myelocyte",
    "neutrophil",
    "not_recognizeable",
    "plasma_cell",
    "promonocyte",
    "promyelocyte",
    "smudge",
})  # fmt: skip
"""Types and special marks of cells, in small letters with underscores."""

_SAYS_NOTHING = frozenset({"none", "cell"})
_LABELS = ("celltype", "specialcharacteristics", "objecttype")
_READER = TableReader(
    what="table of the bone-marrow set",
    mend="columns: wsi,cellType,specialCharacteristics,objectType,bbox",
    fits=lambda columns: bool({"wsi", "wsi_id"} & set(columns)),
    error=InputError,
)
_NUMBERS = re.compile(r"\s*\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]\s*")


def read(folder: Path) -> Cohort:
    """Read the set.

    Raises InputError when no CSV has boxes, when an image that one names is missing, for a box
    that is none, a class that is not known, and a field with two diagnoses.
    """
    images = {file.stem: file for file in images_in(first_folder(folder, "wsi", "."))}
    boxes: dict[str, list[CohortCell]] = defaultdict(list)
    known: list[tuple[str, str]] = []
    tables = sorted([*folder.glob("*.csv"), *folder.glob("datasets/*.csv")])
    with_boxes = 0
    for path in tables:
        table = _READER.read(path)
        with_boxes += "bbox" in table.columns
        _take(path, table, images, boxes, known)
    if not with_boxes:
        raise InputError("table of boxes is missing", printable(folder), _READER.mend)
    check_apart(known, folder)
    diagnosis = dict(known)
    patients = [
        CohortPatient(name, diagnosis.get(name, ""), (images[name],), tuple(boxes[name]))
        for name in sorted({*boxes, *diagnosis})
    ]
    unused = len(images) - len(patients)
    left_out = {"fields that no table names": unused} if unused else {}
    return Cohort("bone-marrow", tuple(patients), um_per_px=UM_PER_PX, left_out=left_out)


def _take(
    path: Path,
    table: Table,
    images: dict[str, Path],
    boxes: dict[str, list[CohortCell]],
    known: list[tuple[str, str]],
) -> None:
    field = next((name for name in ("wsi", "wsi_id") if name in table.columns), None)
    if field is None:
        return
    for row in table.rows:
        name = row.cells[table.columns.index(field)].strip()
        if name not in images:
            raise _READER.wrong(path, row.line, f"image {printable(name)!r} is missing")
        if "bbox" in table.columns:
            boxes[name].append(_cell(path, table, row, images[name]))
        if "diagnosis" in table.columns:
            known.append((name, row.cells[table.columns.index("diagnosis")].strip()))


def _cell(path: Path, table: Table, row: TableRow, image: Path) -> CohortCell:
    words = [row.cells[table.columns.index(name)] for name in _LABELS if name in table.columns]
    kinds = _kinds(words, f"{printable(path)}, line {row.line}")
    return CohortCell(image, kinds, _box(path, row, row.cells[table.columns.index("bbox")]))


def _kinds(words: Sequence[str], where: str) -> tuple[str, ...]:
    """Read ``{'Promyelocyte', 'Erythroblast'}``."""
    said = [name for word in words for name in re.findall(r"'([^']*)'", word)]
    plain = [re.sub(r"[^a-z0-9]+", "_", name.lower()) for name in said]
    return tuple(
        check_known(name, CLASSES, "class", where) for name in plain if name not in _SAYS_NOTHING
    )


def _box(path: Path, row: TableRow, text: str) -> Box:
    """Read ``[top, left, bottom, right]``."""
    match = _NUMBERS.fullmatch(text)
    top, left, bottom, right = map(int, match.groups()) if match else (0, 0, 0, 0)
    if not (left < right and top < bottom):
        raise _READER.wrong(path, row.line, f"bbox {printable(text)!r} is no box")
    return left, top, right, bottom
