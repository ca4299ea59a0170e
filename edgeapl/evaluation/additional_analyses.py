"""Optional analyses of results: boxes, differential counts, folds, another model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl.evaluation.boxes import box_document, read_found
from edgeapl.evaluation.differential import differential_document, read_counts
from edgeapl.evaluation.evaluator import EvaluationOptions
from edgeapl.evaluation.folds import fold_document, read_folds
from edgeapl.evaluation.labels import read_slide_labels
from edgeapl.evaluation.paired import compare_models
from edgeapl.evaluation.results import read_slides


@dataclass(frozen=True, slots=True)
class AdditionalAnalyses:
    """Files to compare with; None where no analysis is wanted.

    boxes : COCO JSON. counts : people's differential counts. folds : slide or patient to fold.
    against : result folder of another model.
    """

    boxes: Path | None = None
    counts: Path | None = None
    folds: Path | None = None
    against: Path | None = None


def additional_document(
    results: Path, labels: Path, question: EvaluationOptions, further: AdditionalAnalyses
) -> dict[str, Any]:
    """Return the requested figures as plain JSON values. Raises InputError."""
    document: dict[str, Any] = {}
    if further.boxes is not None:
        document["boxes"] = box_document(read_found(results), further.boxes)
    if further.counts is not None:
        people = read_counts(further.counts)
        document["differential"] = differential_document(
            read_slides(results), people, question.classes
        )
    if further.folds is not None:
        folds = read_folds(further.folds)
        known = read_slide_labels(labels)
        document["cross_validation"] = fold_document(read_slides(results), known, folds, question)
    if further.against is not None:
        both = read_slides(results), read_slides(further.against)
        document["against"] = compare_models(*both, read_slide_labels(labels), question.positive)
    return document
