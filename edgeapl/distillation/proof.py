"""Proves that a student answers like its parent on slides that were held back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeapl.bundle.load import Bundle
from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.specs import LimitsSpec, RoleSpec
from edgeapl.calibration.builder.files import reference_opener
from edgeapl.calibration.builder.proof_slides import FEWEST_CELLS
from edgeapl.calibration.validation.cells import CellComparison, class_columns, compare_cells
from edgeapl.calibration.validation.document import answers_document
from edgeapl.calibration.validation.limits import (
    SlideComparison,
    cell_problems,
    slide_problems,
)
from edgeapl.distillation.answered_cells import AnsweredCells
from edgeapl.distillation.student_bundle import NETWORK
from edgeapl.engines.exclusive import ExclusiveEngines
from edgeapl.errors import InputError
from edgeapl.inference import InferenceResult, classify
from edgeapl.inference.slide_answer import answer_slide
from edgeapl.stages.cascade import student_output
from edgeapl.types import Int64

BATCH = 16


@dataclass(frozen=True, slots=True)
class StudentProof:
    """The comparison; `problems` is empty if the student may stand in for its parent."""

    limits: LimitsSpec
    cells: CellComparison
    slides: tuple[SlideComparison, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """What is beyond the limits.

        How far probabilities differ is none of it: a student has doubts of its own, and what
        counts is on which side of a threshold they fall.
        """
        return (*cell_problems(self.cells, self.limits), *slide_problems(self.slides, self.limits))

    def document(self) -> dict[str, Any]:
        """Return the proof as plain JSON values."""
        return {
            "passed": not self.problems,
            "problems": list(self.problems),
            "limits": self.limits.model_dump(exclude={"max_difference"}),
            **answers_document(self.cells, self.slides, "student"),
        }


def prove_student(
    parent: Bundle, made: Bundle, cells: AnsweredCells, rows: Int64, limits: LimitsSpec
) -> StudentProof:
    """Run a bundle that stands in for its parent on cells that the parent has answered.

    Parameters
    ----------
    made : the bundle. rows : of the cells to prove it on, slide by slide.

    Raises InputError for too few cells, EngineError when a network fails.
    """
    if len(rows) < FEWEST_CELLS:
        mend = f"{FEWEST_CELLS} are needed: give more slides"
        raise InputError("too few cells to prove a student on", len(rows), mend)
    asked = asked_of(made.manifest, parent.manifest)
    answers: list[tuple[InferenceResult, InferenceResult]] = []
    slides = []
    with (
        ExclusiveEngines(tuple(made.manifest.networks), reference_opener(made)) as engines,
        ExclusiveEngines(tuple(parent.manifest.networks), reference_opener(parent)) as before,
    ):
        for name, own in cells.of_slides(rows):
            want = cells.wanted(own)
            have = classify(asked, engines, np.asarray(cells.crops[own]), BATCH).checked()
            answers.append((want, have))
            one = answer_slide(parent.manifest, before, want)
            slides.append(SlideComparison(name, one, answer_slide(made.manifest, engines, have)))
    return StudentProof(limits, compare_cells(parent.manifest, answers), tuple(slides))


def asked_of(made: Manifest, parent: Manifest) -> Manifest:
    """Return a manifest that also asks for every class of every network of the parent.

    The names of these columns are those of `with_classes` of the parent.
    """
    columns: Sequence[RoleSpec] = [
        RoleSpec(
            name=column.name,
            network=column.network if column.network in made.networks else NETWORK,
            output=column.output
            if column.network in made.networks
            else student_output(column.network, column.output),
            threshold=1.0,
        )
        for column in class_columns(parent)
    ]
    return made.model_copy(update={"roles": (*made.roles, *columns)})
