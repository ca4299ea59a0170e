"""Where a cell stands in the tree of `yan2025`: benign or malignant, its kind, its leukaemia.

Yan et al. 2025, "Dataset": benign cells are named by their kind; a malignant cell counts as what
its patient has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

from edgeapl.errors import UsageError
from edgeapl.export.recipes.yan2025 import STAGES
from edgeapl.export.training.labelled_set import LabelledImage
from edgeapl.wording.printable import printable

STAGE_OF: Mapping[str, str] = {name: stage for stage, classes, _ in STAGES for name in classes}
PARENT: Mapping[str, str] = {
    stage: when.partition(".")[2] for stage, _, when in STAGES if when is not None
}
"""Stage to the class whose cells it is shown."""

CELLS: Mapping[str, tuple[str, ...]] = {
    "neutrophil": (
        *("neutrophil", "neutrophils", "segmented_neutrophil", "band_neutrophil", "neutrophil_seg"),
        *("seg", "segmented", "sne", "bne", "ngs", "ngb", "neu", "band"),
    ),
    "lymphocyte": ("lymphocyte", "lymphocytes", "lymphocyte_typical", "ly", "lyt", "lym"),
    "monocyte": ("monocyte", "monocytes", "mo", "mon"),
    "eosinophil": ("eosinophil", "eosinophils", "eo", "eos"),
    "basophil": ("basophil", "basophils", "ba", "bas"),
    "malignant": (
        *("malignant", "blast", "blasts", "blast_no_lineage_spec", "myeloblast", "myeloblasts"),
        *("promyelocyte", "promyelocytes", "promyelocyte_bilobed", "faggot_cell", "lymphoblast"),
        *("monoblast", "myo", "pmo", "pmb", "mob"),
    ),
}
"""Class to the names that public cohorts have for such cells, in small letters."""

DIAGNOSES: Mapping[str, tuple[str, ...]] = {
    "apl": ("apl", "aml-m3", "aml_m3", "m3", "aml_pml_rara", "pml_rara"),
    "non_apl": ("aml", "non-apl", "non_apl", "aml_npm1", "aml_runx1_runx1t1", "aml_cbfb_myh11"),
    "mds": ("mds",),
    "cml": ("cml",),
    "cmml": ("cmml",),
    "ph_positive": ("ph+all", "ph_all", "ph_positive", "all_ph+"),
    "ph_negative": ("ph-all", "ph_negative", "all_ph-"),
    "all": ("all",),
    "cll": ("cll",),
    "pcl": ("pcl",),
    "hcl": ("hcl",),
}
"""Class to the names of diagnoses, in small letters. An AML named no closer is no APL, as labels
are that name both; of an ALL named no closer nothing is known about Ph."""

NAMES: Mapping[str, tuple[str, ...]] = {**CELLS, **DIAGNOSES}


@dataclass(frozen=True, slots=True)
class LeukaemiaTree:
    """Places cells in the tree.

    cells : class to the folders of a cohort that hold such cells, beside `CELLS`.
    """

    cells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.cells) - set(STAGE_OF))
        if unknown:
            mend = f"name one of: {', '.join(STAGE_OF)}"
            raise UsageError("--cells names no class", printable(unknown[0]), mend)

    def path(self, image: LabelledImage) -> tuple[str, ...]:
        """Return the classes of a cell from its leaf to its root; empty if it is unknown.

        A cell whose folder says that it is malignant, and no more, is of its patient's leukaemia.
        """
        name = _named(image.cell_class, self.cells) or _named(image.cell_class, NAMES)
        found = _upwards(name) if name else ()
        if "malignant" not in found:
            return found
        diagnosis = _named(image.label, DIAGNOSES)
        further = _upwards(diagnosis) if diagnosis else ()
        # What a folder says of a cell counts more than what its patient has.
        return further if set(found) <= set(further) else found

    def class_in(self, stage: str, image: LabelledImage) -> str:
        """Return the class that a stage should give a cell; empty where it is not shown it."""
        return next((name for name in self.path(image) if STAGE_OF[name] == stage), "")


def _named(name: str, known: Mapping[str, tuple[str, ...]]) -> str:
    wanted = name.casefold()
    found = (one for one, names in known.items() if wanted in {each.casefold() for each in names})
    return next(found, "")


def _upwards(name: str) -> tuple[str, ...]:
    parent = PARENT.get(STAGE_OF[name], "")
    return tuple(chain((name,), _upwards(parent))) if parent else (name,)
