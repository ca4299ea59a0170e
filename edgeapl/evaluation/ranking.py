"""How well scores separate positives from negatives, whatever the threshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.evaluation.confusion import CONFIDENCE

Float64 = NDArray[np.float64]
Truth = NDArray[np.bool_]

SAMPLES = 2000
"""Bootstrap samples: the ends of a 95 % interval then vary by less than 0.01 between seeds."""


def roc_auc(truth: Truth, scores: Float64) -> float:
    """Return the area under the ROC curve: the share of correctly ordered pairs, ties half."""
    ranks = midranks(scores)
    positives = int(truth.sum())
    negatives = len(truth) - positives
    above = ranks[truth].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def delong(truth: Truth, scores: Float64) -> tuple[float, float] | None:
    """Return the interval of the area under the ROC curve (DeLong 1988; Sun and Xu 2014).

    Computed on the logit scale, so that it stays within 0 and 1. None if the scores separate the
    classes perfectly, or are all wrong: then the variance is 0 and says nothing.
    """
    area = roc_auc(truth, scores)
    of_positives, of_negatives = placements(truth, scores)
    if min(len(of_positives), len(of_negatives)) < 2 or area in (0.0, 1.0):
        return None
    variance = of_positives.var(ddof=1) / len(of_positives)
    variance += of_negatives.var(ddof=1) / len(of_negatives)
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle = math.log(area / (1 - area))
    spread = z * math.sqrt(variance) / (area * (1 - area))
    return 1 / (1 + math.exp(spread - middle)), 1 / (1 + math.exp(-spread - middle))


def placements(truth: Truth, scores: Float64) -> tuple[Float64, Float64]:
    """Return per positive the share of negatives below it, per negative that of positives above.

    Ties count half; the mean of either is the area under the ROC curve.
    """
    positives, negatives = scores[truth], scores[~truth]
    both = midranks(np.concatenate([positives, negatives]))
    of_positives = (both[: len(positives)] - midranks(positives)) / len(negatives)
    of_negatives = 1 - (both[len(positives) :] - midranks(negatives)) / len(positives)
    return np.asarray(of_positives), np.asarray(of_negatives)


def average_precision(truth: Truth, scores: Float64) -> float:
    """Return the area under the precision-recall curve as a step function, grouping ties."""
    precision, recall = precision_recall_points(truth, scores)
    steps = np.diff(np.concatenate([[0.0], recall]))
    return float((steps * precision).sum())


def precision_recall_points(truth: Truth, scores: Float64) -> tuple[Float64, Float64]:
    """Return precision and recall from each score on, highest score first."""
    hits, said = _counts_from_the_top(truth, scores)
    return hits / said, hits / truth.sum()


def roc_points(truth: Truth, scores: Float64) -> tuple[Float64, Float64]:
    """Return false and true positive rates from each score on, highest first, after (0, 0)."""
    hits, said = _counts_from_the_top(truth, scores)
    false = (said - hits) / (~truth).sum()
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], hits / truth.sum()])


def bootstrap(
    figure: Callable[[Truth, Float64], float],
    truth: Truth,
    scores: Float64,
    groups: Sequence[str],
    seed: int = 0,
) -> tuple[float, float] | None:
    """Return the percentile interval of a figure, resampling whole groups with replacement.

    Parameters
    ----------
    groups : what each row belongs to, e.g. its patient; rows of one group are not independent, so
        they are drawn together. Groups with a positive row and those without are drawn
        separately, so that no sample lacks a class; a sample that does is not counted.

    Returns None for fewer than two groups.
    """
    rows_of: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows_of.setdefault(group, []).append(row)
    members = [np.array(rows) for rows in rows_of.values()]
    having = [rows for rows in members if truth[rows].any()]
    without = [rows for rows in members if not truth[rows].any()]
    # A stratum of one would always be drawn whole: then all groups are drawn together.
    strata = [having, without] if min(len(having), len(without)) > 1 else [members]
    if len(members) < 2:
        return None
    random = np.random.default_rng(seed)
    values = []
    for _ in range(SAMPLES):
        drawn = [
            stratum[at]
            for stratum in strata
            for at in random.integers(0, len(stratum), len(stratum)).tolist()
        ]
        rows = np.concatenate(drawn)
        if truth[rows].any() and not truth[rows].all():
            values.append(figure(truth[rows], scores[rows]))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def ranking_document(truth: Truth, scores: Float64, groups: Sequence[str]) -> dict[str, Any]:
    """Return both areas with their intervals; null with the reason if there is none.

    If every row is a group of its own, the ROC area has DeLong's interval, else one by groups.
    """
    if truth.all() or not truth.any():
        reason = "all are positive" if truth.all() else "none is positive"
        return {"roc_auc": _nothing(reason), "average_precision": _nothing(reason)}
    single = len(set(groups)) == len(groups)
    around = delong(truth, scores) if single else bootstrap(roc_auc, truth, scores, groups)
    method = "DeLong" if single else f"bootstrap by patient, {SAMPLES} samples"
    precision = bootstrap(average_precision, truth, scores, groups)
    return {
        "roc_auc": _area(roc_auc(truth, scores), around, method),
        "average_precision": _area(
            average_precision(truth, scores), precision, f"bootstrap, {SAMPLES} samples"
        ),
    }


def _area(value: float, around: tuple[float, float] | None, method: str) -> dict[str, Any]:
    low, high = around or (None, None)
    reason = None if around else "too few, or separated perfectly: no interval can be computed"
    return {"value": value, "low": low, "high": high, "method": method, "reason": reason}


def _nothing(reason: str) -> dict[str, Any]:
    return {"value": None, "low": None, "high": None, "method": None, "reason": reason}


def midranks(values: Float64) -> Float64:
    """Rank from 1; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], dtype=np.float64)


def _counts_from_the_top(truth: Truth, scores: Float64) -> tuple[Float64, Float64]:
    """Return, at each distinct score from the highest down, the positives and all rows so far."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.concatenate([np.diff(scores[order]) != 0, [True]]))
    hits = np.cumsum(truth[order])[ends]
    return hits.astype(np.float64), (ends + 1).astype(np.float64)
