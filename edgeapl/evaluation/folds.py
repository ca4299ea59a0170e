"""Figures per fold of a cross-validation, with mean and standard deviation as papers print them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeapl.errors import InputError
from edgeapl.evaluation.evaluator import EvaluationOptions, evaluate_slides, label_of_slide
from edgeapl.evaluation.labels import SlideLabel
from edgeapl.evaluation.results import SlideResult
from edgeapl.sources.table_file import PATIENT_NAMES, SLIDE_NAMES, TableReader
from edgeapl.wording.names import canonical_name
from edgeapl.wording.printable import printable

FOLD = "fold"
HOW = "columns: slide,fold or patient,fold"
FIGURES = ("roc_auc", "average_precision", "sensitivity", "specificity")
_READER = TableReader(
    what="folds",
    mend=HOW,
    fits=lambda columns: FOLD in columns,
    own=(*SLIDE_NAMES, *PATIENT_NAMES, FOLD),
    error=InputError,
)


def read_folds(path: Path) -> dict[str, str]:
    """Map each slide or patient to its fold; names in Unicode NFC. Raises InputError."""
    table = _READER.read(path)
    names = [
        place for place, name in enumerate(table.columns) if name in (*SLIDE_NAMES, *PATIENT_NAMES)
    ]
    if FOLD not in table.columns or len(names) != 1:
        raise InputError("folds are not understood", printable(path), HOW)
    folds: dict[str, str] = {}
    for row in table.rows:
        name = canonical_name(row.cells[names[0]].strip())
        fold = row.cells[table.columns.index(FOLD)].strip()
        where = f"{printable(path)}, line {row.line}"
        if not name or not fold:
            raise InputError("fold is empty", where, "fill it or remove it")
        if folds.setdefault(name, fold) != fold:
            raise InputError("in two folds", f"{where}: {printable(name)}", "keep one")
    return folds


def fold_document(
    results: Sequence[SlideResult],
    labels: Mapping[str, SlideLabel],
    folds: Mapping[str, str],
    question: EvaluationOptions,
) -> dict[str, Any]:
    """Return the figures of each fold, and their mean and standard deviation.

    Raises InputError when a labelled slide is in no fold, or a patient in two.
    """
    by_fold: dict[str, list[SlideResult]] = {}
    of_patient: dict[str, str] = {}
    for result in results:
        label = label_of_slide(labels, result)
        if label is None:
            continue
        name = canonical_name(result.slide)
        fold = folds.get(name, folds.get(label.patient))
        if fold is None:
            raise InputError("slide is in no fold", printable(result.slide), "add it to the folds")
        if of_patient.setdefault(label.patient, fold) != fold:
            mend = "slides of one patient belong together"
            raise InputError("patient is in two folds", printable(label.patient), mend)
        by_fold.setdefault(fold, []).append(result)
    figures = {}
    for fold, some in sorted(by_fold.items()):
        slides = evaluate_slides(some, labels, question).document["slides"]
        figures[fold] = {
            "n": slides["n"],
            "labels": slides["labels"],
            **{name: _value(slides.get(name)) for name in FIGURES},
            "accuracy": _value(slides["at_threshold"]["accuracy"]),
        }
    return {
        "folds": figures,
        "mean": {name: _mean(figures, name) for name in (*FIGURES, "accuracy")},
    }


def _value(figure: Mapping[str, Any] | None) -> float | None:
    return None if figure is None else figure["value"]


def _mean(figures: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, Any]:
    values = [float(one[name]) for one in figures.values() if one[name] is not None]
    return {
        "value": float(np.mean(values)) if values else None,
        "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "folds": len(values),
    }
