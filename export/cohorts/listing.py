"""Public cohorts as they are known to us. Nothing is downloaded; licences change, so look again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeapl.errors import UsageError
from edgeapl.export.cohorts import bone_marrow, deepapl, lmu, mll_helmholtz, pbc
from edgeapl.export.cohorts.cohort import Cohort
from edgeapl.wording.printable import printable


@dataclass(frozen=True, slots=True)
class PublicCohort:
    """One cohort.

    where : its page. licence : as last seen. size : images or cells. patients : how many, in words.
    teaches : what may be learnt from it. not_for : what it must not be used for, and why.
    layout : how its folder looks; empty where no reader is here.
    """

    name: str
    title: str
    where: str
    licence: str
    size: str
    patients: str
    teaches: str
    not_for: str
    layout: str = ""


COHORTS = (
    PublicCohort(
        "deepapl",
        "DeepAPL, Sidhom et al. 2021",
        "https://github.com/sidhomj/DeepAPL",
        "none granted today (MIT until 2021)",
        "single cells, CellaVision",
        "106 (34 APL, 72 AML)",
        "APL against other AML in blood, by patient; what the cells are",
        "weights that are passed on; healthy people (there are none)",
        "master.csv, Data/All/Patient_N/Signed slides/CLASS/*.jpg",
    ),
    PublicCohort(
        "pbc",
        "PBC, Acevedo et al. 2020",
        "https://doi.org/10.17632/snkd93bnjr",
        "CC BY 4.0",
        "17,092 cells, CellaVision",
        "healthy, not named",
        "kinds of cells in healthy blood, promyelocytes too",
        "APL or any leukaemia (there is none); splits by patient",
        "CLASS/PREFIX_NUMBER.jpg",
    ),
    PublicCohort(
        "lmu",
        "AML-Cytomorphology_LMU, Matek et al. 2019",
        "https://doi.org/10.7937/tcia.2019.36f5o9ld",
        "CC BY 3.0",
        "18,365 cells",
        "200 (100 AML), not named",
        "kinds of cells in AML, blasts and promyelocytes",
        "diagnoses and splits by patient (nobody says whose a cell is)",
        "CLASS/*.tiff, annotations.dat",
    ),
    PublicCohort(
        "mll-helmholtz",
        "AML-Cytomorphology_MLL_Helmholtz, Hehr et al. 2023",
        "https://doi.org/10.7937/6ppe-4020",
        "CC BY 4.0",
        "over 80,000 cells",
        "189 (129 AML of 4 subtypes, 60 healthy)",
        "APL against other AML and healthy blood, by patient",
        "what single cells are (nobody says)",
        "DIAGNOSIS/PATIENT/*.tif",
    ),
    PublicCohort(
        "bone-marrow",
        "Bone marrow slides, Eckardt et al. 2022",
        "kaggle.com/sebastianriechert/bone-marrow-slides-for-leukemia-prediction",
        "see its page",
        "1,331 fields, boxes of cells",
        "1,331 (43 APL, 1,052 AML, 236 healthy)",
        "finding cells in marrow; promyelocytes, myeloblasts, Auer rods",
        "blood smears; counting cells that no box names",
        "wsi/ID.*, CSV with wsi, cellType and bbox",
    ),
    PublicCohort(
        "mll23",
        "MLL23, Shetab Boushehri et al. 2025",
        "https://github.com/marrlab/MLL23",
        "see its page",
        "41,906 cells",
        "not named",
        "18 kinds of cells, atypical promyelocytes apart",
        "diagnoses and splits by patient",
    ),
    PublicCohort(
        "mll-marrow",
        "Bone-Marrow-Cytomorphology_MLL_Helmholtz_Fraunhofer, Matek et al. 2021",
        "https://doi.org/10.7937/TCIA.AXH3-T579",
        "CC BY 4.0",
        "171,375 cells",
        "945, not named",
        "kinds of cells in bone marrow",
        "blood smears; diagnoses and splits by patient",
    ),
)

READERS: Mapping[str, Callable[[Path], Cohort]] = {
    "deepapl": deepapl.read,
    "pbc": pbc.read,
    "lmu": lmu.read,
    "mll-helmholtz": mll_helmholtz.read,
    "bone-marrow": bone_marrow.read,
}
"""Cohorts that can be read as they are downloaded."""


def read_public(name: str, folder: Path) -> Cohort:
    """Read a downloaded cohort. Raises UsageError for a name without a reader, InputError."""
    if name not in READERS:
        mend = f"there are readers for {', '.join(READERS)}"
        raise UsageError("no reader for this cohort", printable(name), mend)
    return READERS[name](folder)
