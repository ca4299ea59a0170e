"""How good a training is, by patients it did not learn from; all figures come from `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeapl.evaluation.confusion import ConfusionMatrix
from edgeapl.evaluation.evaluator import Curve, Evaluation, EvaluationOptions, evaluate_slides
from edgeapl.evaluation.folds import fold_document
from edgeapl.evaluation.labels import SlideLabel
from edgeapl.evaluation.results import SlideResult
from edgeapl.export.training.objective import Predictions


@dataclass(frozen=True, slots=True, eq=False)
class TestedFold:
    """What one round said of patients it did not learn from."""

    __test__ = False

    seed: int
    fold: str
    said: Predictions


def sought(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes that have figures: of two the last, of more each against the others."""
    return tuple(classes[-1:]) if len(classes) == 2 else tuple(classes)


def tested_document(folds: Sequence[TestedFold]) -> dict[str, Any]:
    """Return all figures of a cross-validation, or of one test, as plain JSON values.

    For every class that is looked for: each seed's folds with mean and deviation, the areas of all
    seeds, and the figures of the mean of all seeds' probabilities.
    """
    classes = folds[0].said.classes
    seeds = sorted({fold.seed for fold in folds})
    mean = mean_of_seeds(folds)
    document: dict[str, Any] = {"classes": list(classes), "seeds": seeds, "sought": {}}
    for name in sought(classes):
        by_seed = {}
        for seed in seeds:
            own = [fold for fold in folds if fold.seed == seed]
            figures = fold_document(*_results(own, name), _fold_of(own), EvaluationOptions(name))
            together = _evaluated(own, name).document
            by_seed[str(seed)] = {**figures, "together": _areas(together)}
        areas = [one["together"]["slides"]["roc_auc"]["value"] for one in by_seed.values()]
        document["sought"][name] = {
            "by_seed": by_seed,
            "seeds": {
                "mean": float(np.mean(areas)),
                "deviation": float(np.std(areas, ddof=1)) if len(areas) > 1 else None,
                "lowest": min(areas),
                "highest": max(areas),
            },
            "mean_of_seeds": _evaluated(mean, name).document,
        }
    document["confusion"] = confusion_of(mean).document()
    return document


def mean_of_seeds(folds: Sequence[TestedFold]) -> list[TestedFold]:
    """Return one fold with each slide's probability averaged over the seeds."""
    sums: dict[tuple[str, str], list[Any]] = {}
    for fold in folds:
        said = fold.said
        for at, key in enumerate(zip(said.patients, said.names, strict=True)):
            entry = sums.setdefault(key, [int(said.truth[at]), []])
            entry[1].append(said.probabilities[at])
    first = folds[0].said
    none = np.empty((0, 0), dtype=np.float32)
    return [
        TestedFold(
            0,
            "all",
            Predictions(
                classes=first.classes,
                names=tuple(name for _, name in sums),
                patients=tuple(patient for patient, _ in sums),
                truth=np.array([truth for truth, _ in sums.values()], dtype=np.int64),
                probabilities=np.array(
                    [np.mean(said, axis=0) for _, said in sums.values()], dtype=np.float32
                ),
                cells=np.empty(0, dtype=np.int64),
                features=none,
                cell_scores=none,
            ),
        )
    ]


def confusion_of(folds: Sequence[TestedFold]) -> ConfusionMatrix:
    """Count how often slides of each class got each class, the most probable one."""
    classes = folds[0].said.classes
    truth = [classes[one] for fold in folds for one in fold.said.truth.tolist()]
    called = [classes[at] for fold in folds for at in fold.said.probabilities.argmax(1).tolist()]
    return ConfusionMatrix.of(truth, called)


def evaluation_of(folds: Sequence[TestedFold]) -> Evaluation:
    """Return curves and the matrix of a cross-validation, for drawing."""
    mean = mean_of_seeds(folds)
    curves: list[Curve] = []
    for name in sought(folds[0].said.classes):
        curves += _evaluated(mean, name).curves[:1]
    return Evaluation({}, tuple(curves), (("most probable class", confusion_of(mean)),))


def _areas(document: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the areas of slides and of patients, with their intervals."""
    names = ("n", "roc_auc", "average_precision")
    levels = ("slides", "patients")
    return {level: {name: document[level].get(name) for name in names} for level in levels}


def _evaluated(folds: Sequence[TestedFold], positive: str) -> Evaluation:
    results, labels = _results(folds, positive)
    return evaluate_slides(results, labels, EvaluationOptions(positive))


def _results(
    folds: Sequence[TestedFold], positive: str
) -> tuple[list[SlideResult], dict[str, SlideLabel]]:
    results, labels = [], {}
    for fold in folds:
        said = fold.said
        column = said.classes.index(positive)
        for at, (name, patient) in enumerate(zip(said.names, said.patients, strict=True)):
            probability = float(said.probabilities[at, column])
            # No rule was applied: it is a figure that a person looks at.
            results.append(SlideResult(name, "REVIEW", probability, patient))
            labels[name] = SlideLabel(said.classes[int(said.truth[at])], patient)
    return results, labels


def _fold_of(folds: Sequence[TestedFold]) -> dict[str, str]:
    return {name: fold.fold for fold in folds for name in fold.said.names}
