"""Teaches a student the answers of its parent; a run that was killed goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeapl.bundle.digest import sha256_of_parts
from edgeapl.bundle.manifest import Manifest
from edgeapl.calibration.validation.cells import class_columns
from edgeapl.distillation.answered_cells import AnsweredCells
from edgeapl.distillation.request import DistillRequest
from edgeapl.export.architectures.student import Head, Student
from edgeapl.export.student_file import student_images
from edgeapl.export.training.answer_objective import CLASSES, AnswerObjective
from edgeapl.export.training.cell_pool import CellPool
from edgeapl.export.training.labelled_set import LabelledImage
from edgeapl.export.training.loop import Epoch, Fit, Listener
from edgeapl.export.training.run_state import StateFile
from edgeapl.export.training.training_data import TrainingData
from edgeapl.types import Float32


def teach(
    manifest: Manifest,
    heads: tuple[Head, ...],
    cells: AnsweredCells,
    key: str,
    request: DistillRequest,
    listener: Listener,
) -> tuple[Student, tuple[Epoch, ...]]:
    """Teach a student on the cells that are for that; return it and what each epoch gave.

    Parameters
    ----------
    manifest : of the parent. key : of the cells. listener : hears of every step and epoch.

    The loss of the cells that are not learned from is only shown: nothing is chosen by it, as the
    student's doubts are measured on them. Raises EngineError when the loss is no number or memory
    runs out.
    """
    size = manifest.crop.size_px
    objective = _objective(manifest, heads, cells, request)
    form = (request.settings, request.augmentation, request.side, request.device, heads)
    run = sha256_of_parts([key, *map(repr, form)])
    # Students of other settings lie beside it.
    finished = StateFile(request.work / f"student-{run[:12]}.pt", run)
    state = StateFile(request.work / f"state-{run[:12]}.pt", run)
    stored = finished.read()
    if stored is None:
        fitted = Fit(
            name="student",
            build=lambda: Student(heads, size, request.side),
            objective=objective,
            settings=request.settings,
            device=request.device,
            state=state,
            listener=listener,
            watched=cells.measure,
            chooses=False,
        ).run()
        history = [
            {name: getattr(epoch, name) for name in Epoch.__slots__} for epoch in fitted.history
        ]
        stored = {"module": fitted.module.cpu().state_dict(), "history": history}
        finished.write(stored)
        state.path.unlink(missing_ok=True)
    student = Student(heads, size, request.side)
    student.load_state_dict(stored["module"])
    student.eval()
    return student, tuple(Epoch(**each) for each in stored["history"])


def answers_of(
    manifest: Manifest, heads: tuple[Head, ...], cells: AnsweredCells
) -> dict[tuple[str, str], Float32]:
    """Return the parent's answers by network and output, float32 (N,) each."""
    found = {
        (column.network, column.output): cells.answers[column.name]
        for column in class_columns(manifest)
    }
    for role in manifest.roles:
        found.setdefault((role.network, role.output), cells.answers[role.name])
    return {
        (head.network, output): found[head.network, output]
        for head in heads
        for output in head.outputs
    }


def _objective(
    manifest: Manifest, heads: tuple[Head, ...], cells: AnsweredCells, request: DistillRequest
) -> AnswerObjective:
    roles = [role for role in manifest.roles if role.suspicious]
    suspected = np.zeros(len(cells.slides), dtype=bool)
    for role in roles:
        suspected |= cells.answers[role.name] >= role.threshold
    images = tuple(
        LabelledImage(Path(digest), slide, slide)
        for digest, slide in zip(cells.images, cells.slides, strict=True)
    )
    data = TrainingData(
        pool=CellPool(cells.crops, images, cells.images),
        train=cells.learn,
        classes=CLASSES,
        truth=suspected.astype(np.int64),
        cell_classes=(),
        cell_truth=np.empty(0, dtype=np.int64),
        images=student_images(manifest.crop.size_px),
        augmentation=request.augmentation,
        settings=request.settings,
        device=request.device,
    )
    suspicious = frozenset((role.network, role.output) for role in roles)
    return AnswerObjective(data, heads, answers_of(manifest, heads, cells), suspicious)
