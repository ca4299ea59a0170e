"""DeepAPL: ``master.csv`` and ``Data/All/Patient_N/Signed slides/CLASS/*.jpg``."""

from __future__ import annotations

import re
from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.export.cohorts.cohort import Cohort, CohortCell, CohortPatient
from edgeapl.export.cohorts.tree import (
    check_apart,
    check_known,
    first_file,
    first_folder,
    folders_in,
    images_in,
)
from edgeapl.sources.table_file import TableReader
from edgeapl.wording.printable import printable

SIGNED, UNSIGNED = "Signed slides", "Unsigned slides"
"""Cells that a person had confirmed, and that the analyser alone had sorted."""

UM_PER_PX = 0.1
"""CellaVision cell images: 100x objective."""

CLASSES = frozenset({
    "artefact",
    "band_neutrophils",
    "basophil",
    "blast_no_lineage_spec",
    "eosinophils",
    "erythroblast",
    "giant_thrombocyte",
    "immature_granulocyte",
    "large_granular_lymphocyte",
    "lymphocyte",
    "lymphocyte_variant",
    "megakaryocyte",
    "metamyelocyte",
    "monocyte",
    "myelocyte",
    "plasma_cells",
    "prolymphocyte",
    "promonocyte",
    "promyelocyte",
    "segmented_neutrophils",
    "smudge_cells",
    "thrombocyte_aggregation",
    "unidentified",
    "young_unidentified",
})  # fmt: skip
"""CellaVision's classes, in small letters with underscores."""

_DIAGNOSES = frozenset({"APL", "AML"})
_COLUMNS = ("patient_id", "diagnosis")
_READER = TableReader(
    what="master.csv",
    mend="columns: Patient_ID,Diagnosis,Cohort",
    fits=lambda columns: set(_COLUMNS) <= set(columns),
    own=(*_COLUMNS, "cohort"),
    error=InputError,
)


def read(folder: Path) -> Cohort:
    """Read the cohort; patients of the table without a folder are left out and counted.

    Raises InputError for a missing table, a patient with two diagnoses or in no row, a class that
    is not known, and a folder without images.
    """
    table = first_file(folder, "master.csv", "master.csv", "Data/master.csv")
    known = _diagnoses(table)
    place = first_folder(folder, "Data/All", "All", ".")
    left_out = {"cells that no person had signed": 0}
    patients = []
    for home in folders_in(place):
        if not home.name.startswith("Patient_"):
            continue
        if home.name not in known:
            raise InputError("patient is in no row of master.csv", printable(home), "add the row")
        patients.append(_patient(home, *known[home.name]))
        unsigned = home / UNSIGNED
        if unsigned.is_dir():
            left_out["cells that no person had signed"] += sum(
                len(images_in(kind)) for kind in folders_in(unsigned)
            )
    if not patients:
        raise InputError("no patient's folder", printable(place), "expected Patient_00 and others")
    left_out["patients of master.csv without a folder"] = len(known) - len(patients)
    counted = {what: count for what, count in left_out.items() if count}
    return Cohort("deepapl", tuple(patients), um_per_px=UM_PER_PX, left_out=counted)


def _patient(home: Path, diagnosis: str, part: str) -> CohortPatient:
    place = home / SIGNED if (home / SIGNED).is_dir() else home
    cells: list[CohortCell] = []
    for kind in folders_in(place):
        if kind.name == UNSIGNED:
            continue
        name = check_known(_plain(kind.name), CLASSES, "class", kind)
        cells += [CohortCell(file, (name,)) for file in images_in(kind)]
    if not cells:
        raise InputError("patient has no cell", printable(home), "download the cohort again")
    images = tuple(cell.file for cell in cells)
    return CohortPatient(home.name, diagnosis, images, tuple(cells), part=part)


def _diagnoses(path: Path) -> dict[str, tuple[str, str]]:
    """Return patient to diagnosis and part of the authors' split."""
    table = _READER.read(path)
    if not set(_COLUMNS) <= set(table.columns):
        raise _READER.wrong(path, table.line, "no column Patient_ID or Diagnosis")
    patient, diagnosis = (table.columns.index(name) for name in _COLUMNS)
    part = table.columns.index("cohort") if "cohort" in table.columns else None
    rows = [
        (
            row.cells[patient].strip(),
            check_known(row.cells[diagnosis].strip(), _DIAGNOSES, "diagnosis", path),
            "" if part is None else row.cells[part].strip(),
        )
        for row in table.rows
    ]
    check_apart([(name, label) for name, label, _ in rows], path)
    return {name: (label, of) for name, label, of in rows}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
