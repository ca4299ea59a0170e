"""AML-Cytomorphology_LMU: a folder per class, and ``annotations.dat`` with what people said."""

from __future__ import annotations

from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.export.cohorts.cohort import Cohort, CohortCell
from edgeapl.export.cohorts.tree import check_known, first_folder, folders_in, images_in
from edgeapl.sources.regular_file import read_plain_file
from edgeapl.wording.printable import printable

CLASSES = {
    "BAS": "basophil",
    "EBO": "erythroblast",
    "EOS": "eosinophil",
    "KSC": "smudge_cell",
    "LYA": "lymphocyte_atypical",
    "LYT": "lymphocyte",
    "MMZ": "metamyelocyte",
    "MOB": "monoblast",
    "MON": "monocyte",
    "MYB": "myelocyte",
    "MYO": "myeloblast",
    "NGB": "neutrophil_band",
    "NGS": "neutrophil_segmented",
    "PMB": "promyelocyte_bilobed",
    "PMO": "promyelocyte",
}
"""The archive's abbreviations, and what they stand for."""

ANNOTATIONS = "annotations.dat"
MAX_BYTES = 16 * 2**20


def read(folder: Path) -> Cohort:
    """Read the cohort; it names no patients. The annotations count where they are there.

    Raises InputError for a class that is not known, an image that the annotations name and that is
    not there, and a folder without images.
    """
    place = first_folder(folder, "AML-Cytomorphology", "AML-Cytomorphology_LMU", ".")
    table = next((at / ANNOTATIONS for at in (folder, place) if (at / ANNOTATIONS).is_file()), None)
    cells = _in_folders(place) if table is None else _annotated(table, place)
    if not cells:
        raise InputError("no labelled cell", printable(folder), "expected BAS, EBO and others")
    return Cohort("lmu", (), tuple(cells))


def _in_folders(place: Path) -> list[CohortCell]:
    cells: list[CohortCell] = []
    for kind in folders_in(place):
        name = CLASSES[check_known(kind.name.upper(), CLASSES, "class", kind)]
        cells += [CohortCell(file, (name,)) for file in images_in(kind)]
    return cells


def _annotated(table: Path, place: Path) -> list[CohortCell]:
    """Read ``CLASS/NAME.tiff CLASS [again [again]]``; the first annotation counts."""
    text = read_plain_file(table, MAX_BYTES).decode("utf-8", "replace")
    cells: dict[Path, CohortCell] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        where = f"{printable(table)}, line {number}"
        if len(words) < 2:
            raise InputError("annotation has no class", where, "expected an image and its class")
        file = place / words[0]
        if ".." in Path(words[0]).parts or Path(words[0]).is_absolute() or not file.is_file():
            raise InputError("annotated image is missing", f"{where}: {printable(words[0])}")
        if file in cells:
            raise InputError("image is annotated twice", f"{where}: {printable(words[0])}")
        kind = CLASSES[check_known(words[1].upper(), CLASSES, "class", where)]
        cells[file] = CohortCell(file, (kind,))
    return list(cells.values())
