"""The kinds of cell of the PBC set, and the groups that two of its folders name."""

from __future__ import annotations

KINDS = (
    "neutrophil_segmented",
    "neutrophil_band",
    "metamyelocyte",
    "myelocyte",
    "promyelocyte",
    "eosinophil",
    "basophil",
    "lymphocyte",
    "monocyte",
    "erythroblast",
    "platelet",
)
"""What a cell is called; one probability each, in this order."""

GROUPS = {
    "neutrophil_unspecified": ("neutrophil_segmented", "neutrophil_band"),
    "immature_granulocyte_unspecified": ("metamyelocyte", "myelocyte", "promyelocyte"),
}
"""Folders of cells that were named no closer: they teach the sum of these kinds."""

FOLDERS = (*KINDS, *GROUPS)
"""The thirteen folders of the set."""


def members(folder: str) -> tuple[str, ...]:
    """Return the kinds that a cell of this folder may be."""
    return GROUPS.get(folder, (folder,))
