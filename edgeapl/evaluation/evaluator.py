"""Combines results and labels into one document of figures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeapl.errors import InputError
from edgeapl.evaluation.calibration_curve import calibration_document
from edgeapl.evaluation.confusion import ConfusionMatrix, share
from edgeapl.evaluation.labels import SlideLabel, label_of_file
from edgeapl.evaluation.ranking import Float64, Truth, ranking_document
from edgeapl.evaluation.results import CellResult, SlideResult
from edgeapl.wording.names import canonical_name, disambiguated

SCHEMA = 1
DECISIONS = ("FLAG", "CLEAR", "REVIEW")


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to evaluate.

    positive : label of the slides that must be found. threshold : a slide with at least this
    probability counts as called positive. thresholds : role to the same for cells; 0.5 for others.
    classes : role to the labels of the cells it should find; None to match equal names.
    """

    positive: str = "APL"
    threshold: float = 0.5
    thresholds: Mapping[str, float] = field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Scores with their truth, for plots. name : what is distinguished."""

    name: str
    truth: Truth
    scores: Float64


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All figures, and the data for plots."""

    document: dict[str, Any]
    curves: tuple[Curve, ...]
    matrices: tuple[tuple[str, ConfusionMatrix], ...]


def evaluate_slides(
    results: Sequence[SlideResult], labels: Mapping[str, SlideLabel], question: EvaluationOptions
) -> Evaluation:
    """Return the figures for slides, and for patients where one has several slides.

    A patient's probability is the mean over the patient's slides, so that another slide does not
    raise it by itself. FLAG on any slide counts for the patient, because somebody would look.
    The model is fixed and was not trained here, so there are no folds; a patient's slides are
    never counted as independent. Slides without a label, and labels without a slide, are listed.

    Raises InputError when no slide has a label, or none is positive.
    """
    question = replace(question, positive=canonical_name(question.positive))
    labelled = [(result, label_of_slide(labels, result)) for result in results]
    known = [(result, label) for result, label in labelled if label is not None]
    if not known:
        shown = disambiguated([results[0].slide, *sorted(labels)[:3]])
        mend = f"the labels name: {', '.join(shown[name] for name in sorted(labels)[:3])}"
        which = shown[results[0].slide]
        raise InputError("no slide of the results has a label", which, mend)
    if not any(label.label == question.positive for _, label in known):
        have = ", ".join(sorted({label.label for _, label in known}))
        raise InputError("no slide has the label", question.positive, f"give --positive: {have}")
    slides, curve, matrix = _level(
        [(r.slide, label.label, r.probability, r.verdict) for r, label in known], question
    )
    used = {canonical_name(r.slide) for r, _ in known}
    used |= {label.patient for _, label in known if label.of_patient}
    document = {
        "positive": question.positive,
        "threshold": question.threshold,
        "unlabelled": sorted(result.slide for result, label in labelled if label is None),
        "labels_without_result": sorted(set(labels) - used),
        "slides": slides,
    }
    curves, matrices = [curve], [("slides", matrix)]
    by_patient = _by_patient(known)
    if len(by_patient) < len(known):
        document["patients"], curve, matrix = _level(by_patient, question)
        curves.append(curve)
        matrices.append(("patients", matrix))
    else:
        document["patients"] = {**slides, "note": "every patient has one slide"}
    return Evaluation(document, tuple(c for c in curves if c is not None), tuple(matrices))


Row = tuple[str, str, float | None, str]
"""Name, label, probability, verdict."""


def label_of_slide(labels: Mapping[str, SlideLabel], result: SlideResult) -> SlideLabel | None:
    """Return what is known about a slide, by its name or its patient's; None if nothing is.

    Raises InputError when labels and results name different patients.
    """
    name, patient = canonical_name(result.slide), canonical_name(result.patient)
    label = labels.get(name)
    if label is None and patient in labels and labels[patient].of_patient:
        return labels[patient]
    if label is None or not patient or label.patient == patient:
        return label
    if label.patient != name:
        shown = disambiguated((patient, label.patient))
        which = f"{result.slide}: {shown[patient]} in the slide list, {shown[label.patient]} here"
        raise InputError("slide has two patients", which, "correct the labels or the list")
    return replace(label, patient=patient)


def labels_of_slides(
    labels: Mapping[str, SlideLabel], results: Sequence[SlideResult]
) -> dict[str, SlideLabel]:
    """Map each slide, in Unicode NFC, to its label; also those of which only a patient is known."""
    found = {}
    for result in results:
        name = canonical_name(result.slide)
        label = label_of_slide(labels, result)
        found[name] = label or SlideLabel("", canonical_name(result.patient) or name)
    return found


def _by_patient(known: Sequence[tuple[SlideResult, SlideLabel]]) -> list[Row]:
    groups: dict[str, list[SlideResult]] = defaultdict(list)
    labels: dict[str, set[str]] = defaultdict(set)
    for result, label in known:
        groups[label.patient].append(result)
        labels[label.patient].add(label.label)
    rows: list[Row] = []
    for patient, results in groups.items():
        given = labels[patient]
        if len(given) > 1:
            raise InputError("patient has several labels", patient, ", ".join(sorted(given)))
        probabilities = [r.probability for r in results if r.probability is not None]
        mean = float(np.mean(probabilities)) if probabilities else None
        worst = min((r.verdict for r in results), key=("FLAG", "REVIEW", "CLEAR").index)
        rows.append((patient, given.pop(), mean, worst))
    return rows


def _level(
    rows: Sequence[Row], question: EvaluationOptions
) -> tuple[dict[str, Any], Curve | None, ConfusionMatrix]:
    """Return the figures for slides or for patients, each counted once."""
    positive = question.positive
    scored = [row for row in rows if row[2] is not None]
    truth = np.array([label == positive for _, label, _, _ in scored], dtype=bool)
    scores = np.array([probability for _, _, probability, _ in scored], dtype=np.float64)
    called = scores >= question.threshold
    names = {True: positive, False: f"not {positive}"}
    matrix = ConfusionMatrix.of(
        [names[t] for t in truth.tolist()], [names[c] for c in called.tolist()]
    )
    names_of = [name for name, _, _, _ in scored]
    document = {
        "n": len(rows),
        "labels": dict(sorted(Counter(label for _, label, _, _ in rows).items())),
        "without_probability": sorted(name for name, _, p, _ in rows if p is None),
        "verdicts": _verdicts(rows),
        "positives_flagged": _decided(rows, positive, ("FLAG",)),
        "positives_flagged_or_review": _decided(rows, positive, ("FLAG", "REVIEW")),
        "sensitivity": share(int((truth & called).sum()), int(truth.sum())),
        "specificity": share(int((~truth & ~called).sum()), int((~truth).sum())),
        "at_threshold": matrix.document(),
        **(ranking_document(truth, scores, names_of) if scored else {}),
        **({"calibration": calibration_document(truth, scores, names_of)} if scored else {}),
    }
    parted = bool(truth.any()) and not bool(truth.all())
    return document, Curve(f"{positive} by slide", truth, scores) if parted else None, matrix


def _verdicts(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Count verdicts per label: REVIEW is an answer of its own, not a negative."""
    table: dict[str, dict[str, int]] = {}
    for _, label, _, verdict in rows:
        table.setdefault(label, dict.fromkeys(DECISIONS, 0))[verdict] += 1
    return dict(sorted(table.items()))


def _decided(rows: Sequence[Row], positive: str, decisions: tuple[str, ...]) -> dict[str, Any]:
    verdicts = [verdict for _, label, _, verdict in rows if label == positive]
    return share(sum(verdict in decisions for verdict in verdicts), len(verdicts))


def evaluate_cells(
    cells: Sequence[CellResult],
    unscored: int,
    label_for: Mapping[str, str] | None,
    patients: Mapping[str, SlideLabel],
    question: EvaluationOptions,
) -> Evaluation:
    """Return the figures for cells, one role at a time.

    Parameters
    ----------
    label_for : file to class; None if the folder that holds an image is its class.
    patients : slide to patient; intervals of areas are resampled by patient, because cells of one
        patient are not independent. The Wilson intervals of shares treat them as independent.

    Raises InputError when no cell has a label, or no role finds a class.
    """
    labelled = [(cell, _class(cell, label_for)) for cell in cells]
    known = [(cell, label) for cell, label in labelled if label is not None]
    if not known:
        raise InputError("no cell has a label", cells[0].file if cells else "", "check the names")
    seen = Counter(label for _, label in known)
    slides = [canonical_name(cell.slide) for cell, _ in known]
    groups = [patients[name].patient if name in patients else name for name in slides]
    roles, curves, matrices = {}, [], []
    for role, classes in _role_classes(known[0][0].roles, seen, question.classes).items():
        truth = np.array([label in classes for _, label in known], dtype=bool)
        scores = np.array([cell.roles[role] for cell, _ in known], dtype=np.float64)
        called = scores >= question.thresholds.get(role, 0.5)
        names = {True: role, False: "other"}
        matrix = ConfusionMatrix.of(
            [names[t] for t in truth.tolist()], [names[c] for c in called.tolist()]
        )
        roles[role] = {
            "classes": list(classes),
            "at_threshold": matrix.document(),
            **ranking_document(truth, scores, groups),
        }
        matrices.append((f"cells {role}", matrix))
        if truth.any() and not truth.all():
            curves.append(Curve(f"{role} by cell", truth, scores))
    document = {
        "n": len(known),
        "unlabelled": len(labelled) - len(known),
        "unscored": unscored,
        "patients": len(set(groups)),
        "labels": dict(sorted(seen.items())),
        "roles": roles,
    }
    return Evaluation({"cells": document}, tuple(curves), tuple(matrices))


def _class(cell: CellResult, label_for: Mapping[str, str] | None) -> str | None:
    if label_for is None:
        return canonical_name(Path(cell.file).parent.name) or None
    return label_of_file(label_for, cell.file)


def _role_classes(
    roles: Mapping[str, float], seen: Mapping[str, int], given: Mapping[str, tuple[str, ...]] | None
) -> dict[str, tuple[str, ...]]:
    """Return the classes that each role should find."""
    given = {role: tuple(map(canonical_name, names)) for role, names in (given or {}).items()}
    for role, classes in given.items():
        if role not in roles:
            raise InputError("results have no such role", role, f"they have: {', '.join(roles)}")
        for name in classes:
            if name not in seen:
                raise InputError("no cell has this label", name, f"labels: {', '.join(seen)}")
    if given:
        return given
    plain = {name.casefold().replace(" ", "_"): name for name in seen}
    found: dict[str, tuple[str, ...]] = {
        role: (plain[role.casefold()],) for role in roles if role.casefold() in plain
    }
    if not found:
        mend = f"say which with --map ROLE=CLASS; labels: {', '.join(seen)}"
        raise InputError("no role has the name of a label", ", ".join(roles), mend)
    return found
