"""AML-Cytomorphology_MLL_Helmholtz: ``DIAGNOSIS/PATIENT/*.tif``, every image one cell."""

from __future__ import annotations

from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.export.cohorts.cohort import Cohort, CohortCell, CohortPatient
from edgeapl.export.cohorts.tree import (
    check_apart,
    check_known,
    first_folder,
    folders_in,
    images_in,
)
from edgeapl.wording.printable import printable

DIAGNOSES = {
    "CBFB_MYH11": "AML",
    "NPM1": "AML",
    "PML_RARA": "APL",
    "RUNX1_RUNX1T1": "AML",
    "control": "healthy",
}
"""Folder to diagnosis; the folder itself is kept as the subtype."""


def read(folder: Path) -> Cohort:
    """Read the cohort; what single cells are is unknown.

    Raises InputError for a diagnosis that is not known, a patient under two of them, and a folder
    without images.
    """
    place = first_folder(folder, "data", ".")
    patients: list[CohortPatient] = []
    for subtype in folders_in(place):
        diagnosis = DIAGNOSES[check_known(subtype.name, DIAGNOSES, "diagnosis", subtype)]
        homes = folders_in(subtype)
        if not homes:
            raise InputError("diagnosis has no patient", printable(subtype), "download it again")
        for home in homes:
            images = tuple(images_in(home))
            cells = tuple(CohortCell(file, ()) for file in images)
            patients.append(CohortPatient(home.name, diagnosis, images, cells, subtype.name))
    if not patients:
        raise InputError("no patient's folder", printable(place), "expected PML_RARA and others")
    check_apart([(patient.name, patient.subtype) for patient in patients], place)
    return Cohort("mll-helmholtz", tuple(sorted(patients, key=lambda patient: patient.name)))
