"""Evaluates a result folder or a matrix, from files to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeapl.bundle.load import open_bundle
from edgeapl.bundle.trust import Trust
from edgeapl.evaluation.confusion import read_confusion
from edgeapl.evaluation.evaluator import (
    SCHEMA,
    Evaluation,
    EvaluationOptions,
    evaluate_cells,
    evaluate_slides,
    labels_of_slides,
)
from edgeapl.evaluation.labels import read_cell_labels, read_slide_labels
from edgeapl.evaluation.results import read_cells, read_slides

FOLDERS = "folders"
"""Used in place of a list of cells' labels: the class of an image is the folder it is in."""


def evaluation_options(
    positive: str,
    threshold: float | None,
    bundle: Path | None,
    classes: Mapping[str, Sequence[str]] | None,
    trust: Trust | None = None,
) -> EvaluationOptions:
    """Make a question; thresholds default to those of the bundle.

    trust : what the station requires of the bundle; None elsewhere.
    """
    roles: dict[str, float] = {}
    flag_at = 0.5
    if bundle is not None:
        opened = open_bundle(bundle)
        if trust is not None:
            trust.check(opened)
        manifest = opened.manifest
        roles = {role.name: role.threshold for role in manifest.roles}
        flag_at = manifest.rule.flag_at
    at = flag_at if threshold is None else threshold
    named = None if classes is None else {role: tuple(names) for role, names in classes.items()}
    return EvaluationOptions(positive, at, roles, named or None)


def evaluate_results(
    results: Path, labels: Path, cells: str | None, asked: EvaluationOptions
) -> Evaluation:
    """Compare the verdicts of a result folder with labels.

    Parameters
    ----------
    results : folder of `edgeapl score`. labels : CSV with slide,label or patient,label.
    cells : a CSV with file,label, or `FOLDERS`, to evaluate cells too; None for slides alone.

    Raises InputError or ConfigError when a file is missing or wrong.
    """
    known = read_slide_labels(labels)
    verdicts = read_slides(results)
    slides = evaluate_slides(verdicts, known, asked)
    if cells is None:
        return slides
    label_for = None if cells == FOLDERS else read_cell_labels(Path(cells))
    scored, unscored = read_cells(results)
    of_slides = labels_of_slides(known, verdicts)
    of_cells = evaluate_cells(scored, unscored, label_for, of_slides, asked)
    return Evaluation(
        {**slides.document, **of_cells.document},
        (*slides.curves, *of_cells.curves),
        (*slides.matrices, *of_cells.matrices),
    )


def evaluate_matrix(path: Path, *, transposed: bool) -> Evaluation:
    """Evaluate a confusion matrix of counts, CSV. transposed : rows are predictions."""
    matrix = read_confusion(path, transposed=transposed)
    return Evaluation({"matrix": matrix.document()}, (), (("matrix", matrix),))


def evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as one document."""
    head = {"schema": SCHEMA, "research_use_only": True, "confidence": 0.95}
    return {**head, **evaluation.document}
