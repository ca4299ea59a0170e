"""PBC (Acevedo et al. 2020): a folder per class, and the closer class in front of each name."""

from __future__ import annotations

from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.export.cohorts.cohort import Cohort, CohortCell
from edgeapl.export.cohorts.tree import check_known, folders_in, images_in
from edgeapl.wording.printable import printable

UM_PER_PX = 0.1
"""CellaVision DM96, images of 360 px; smaller copies have been resized."""

PREFIXES = {
    "BA": "basophil",
    "BNE": "neutrophil_band",
    "EO": "eosinophil",
    "ERB": "erythroblast",
    "IG": "immature_granulocyte_unspecified",
    "LY": "lymphocyte",
    "MMY": "metamyelocyte",
    "MO": "monocyte",
    "MY": "myelocyte",
    "NEUTROPHIL": "neutrophil_unspecified",
    "PLATELET": "platelet",
    "PMY": "promyelocyte",
    "SNE": "neutrophil_segmented",
}
"""What stands before the first underscore of a file's name."""

_COARSE = {
    "ig": ("MMY", "MY", "PMY", "IG"),
    "neutrophil": ("BNE", "SNE", "NEUTROPHIL"),
}
"""Folders of the set as published that hold several classes."""

FOLDERS = {
    **{kind: (prefix,) for prefix, kind in PREFIXES.items()},
    **_COARSE,
}
"""Folder to the prefixes of what lies in it: the eight as published, or one per class."""


def read(folder: Path) -> Cohort:
    """Read the set; it names no donors.

    Raises InputError for a class that is not known, an image that lies in another class's folder,
    and a folder without images.
    """
    cells: list[CohortCell] = []
    for kind in folders_in(folder):
        allowed = FOLDERS[check_known(kind.name.lower(), FOLDERS, "class", kind)]
        cells += [CohortCell(file, (_class_of(file, allowed),)) for file in images_in(kind)]
    if not cells:
        raise InputError("no class's folder", printable(folder), "expected basophil and others")
    return Cohort("pbc", (), tuple(cells))


def _class_of(file: Path, allowed: tuple[str, ...]) -> str:
    prefix = file.name.partition("_")[0].upper()
    kind = PREFIXES[check_known(prefix, PREFIXES, "class", file)]
    if prefix not in allowed:
        what = f"image of {kind} lies in the folder of another class"
        raise InputError(what, printable(file), "download the set again")
    return kind
