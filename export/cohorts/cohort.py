"""What a reader gives: patients with their diagnosis, and their cells with what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, px, half-open."""


@dataclass(frozen=True, slots=True)
class CohortCell:
    """One labelled cell.

    file : the image. kinds : what it is, in the cohort's own words; empty if unknown.
    box : where in the image, for images with many cells; None where the image is the cell.
    """

    file: Path
    kinds: tuple[str, ...]
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class CohortPatient:
    """One patient and all that was taken of him or her.

    name : as the cohort calls the patient. diagnosis : ``APL``, ``AML``, ``healthy`` or whatever
    the cohort says; empty where it says nothing. subtype : in the cohort's own words.
    images : every image file. part : of a split that the cohort's authors made, e.g. Discovery.
    """

    name: str
    diagnosis: str
    images: tuple[Path, ...]
    cells: tuple[CohortCell, ...]
    subtype: str = ""
    part: str = ""


@dataclass(frozen=True, slots=True)
class Cohort:
    """All that was read of a cohort.

    patients : in the order of their names; empty where the cohort names none.
    nameless : cells of unknown patients, so that no split by patient is possible.
    um_per_px : scale of its images, µm per px; None where the cohort does not say.
    left_out : what was passed over, in words, to how often.
    """

    name: str
    patients: tuple[CohortPatient, ...]
    nameless: tuple[CohortCell, ...] = ()
    um_per_px: float | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def cells(self) -> Iterator[CohortCell]:
        """All cells, with a patient's name or without."""
        for patient in self.patients:
            yield from patient.cells
        yield from self.nameless

    @property
    def diagnoses(self) -> Counter[str]:
        """Diagnosis to patients; empty for those of whom nothing is said."""
        return Counter(patient.diagnosis for patient in self.patients)

    @property
    def kinds(self) -> Counter[str]:
        """Kind to cells; a cell of two kinds counts for both, of none for the empty one."""
        return Counter(kind for cell in self.cells for kind in cell.kinds or ("",))
