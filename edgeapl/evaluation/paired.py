"""Compares two models on the same slides: DeLong's paired test, and the verdicts that changed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from edgeapl.errors import InputError
from edgeapl.evaluation.confusion import CONFIDENCE
from edgeapl.evaluation.evaluator import label_of_slide
from edgeapl.evaluation.labels import SlideLabel
from edgeapl.evaluation.ranking import Float64, Truth, placements, roc_auc
from edgeapl.evaluation.results import SlideResult
from edgeapl.wording.names import canonical_name


def compare_models(
    one: Sequence[SlideResult],
    other: Sequence[SlideResult],
    labels: Mapping[str, SlideLabel],
    positive: str,
) -> dict[str, Any]:
    """Compare two models on the slides that both have, as plain JSON values.

    Parameters
    ----------
    one, other : verdicts of the two. labels : the truth. positive : label that must be found.

    Areas are compared by slide if every patient has one, else by the mean of a patient's slides,
    because slides of one patient are not independent. Raises InputError when no slide with a label
    is in both.
    """
    positive = canonical_name(positive)
    there = {canonical_name(result.slide): result for result in other}
    pairs = [
        (label, mine, there[name])
        for mine in one
        if (name := canonical_name(mine.slide)) in there
        and (label := label_of_slide(labels, mine)) is not None
    ]
    if not pairs:
        mend = "name two result folders of the same slides"
        raise InputError("no slide with a label is in both results", "", mend)
    changed = [
        {
            "slide": mine.slide,
            "label": label.label,
            "from": theirs.verdict,
            "to": mine.verdict,
            "probability_from": theirs.probability,
            "probability_to": mine.probability,
        }
        for label, mine, theirs in pairs
        if mine.verdict != theirs.verdict
    ]
    moves = Counter((one["label"], one["from"], one["to"]) for one in changed)
    names = {canonical_name(result.slide) for result in one}
    return {
        "slides": len(pairs),
        "only_here": len(names - set(there)),
        "only_there": len(set(there) - names),
        "changed": changed,
        "moves": [
            {"label": label, "from": before, "to": after, "slides": count}
            for (label, before, after), count in sorted(moves.items())
        ],
        "delong": _delong(pairs, positive),
    }


def _delong(
    pairs: Sequence[tuple[SlideLabel, SlideResult, SlideResult]], positive: str
) -> dict[str, Any]:
    rows: dict[str, list[tuple[bool, float, float]]] = {}
    for label, mine, theirs in pairs:
        if mine.probability is not None and theirs.probability is not None:
            row = (label.label == positive, mine.probability, theirs.probability)
            rows.setdefault(label.patient, []).append(row)
    truth = np.array([group[0][0] for group in rows.values()], dtype=bool)
    if not truth.any() or truth.all():
        reason = "all are positive" if len(truth) and truth.all() else "none is positive"
        return {"n": len(truth), "value": None, "reason": reason}
    means = np.array([np.mean([r[1:] for r in group], axis=0) for group in rows.values()])
    return {"n": len(truth), **delong_paired(truth, means[:, 0], means[:, 1])}


def delong_paired(truth: Truth, one: Float64, other: Float64) -> dict[str, Any]:
    """Test whether two areas under ROC curves differ, on the same rows (DeLong et al. 1988).

    Parameters
    ----------
    truth : bool (N,), with both values. one, other : float64 (N,), scores of the two models.

    Returns both areas, their difference with its interval, z and the two-sided p. The last three
    are null if the variance of the difference is 0, as it then says nothing.
    """
    areas = roc_auc(truth, one), roc_auc(truth, other)
    difference = areas[0] - areas[1]
    sides = [placements(truth, scores) for scores in (one, other)]
    variance = sum(
        float((first - second).var(ddof=1)) / len(first) if len(first) > 1 else math.nan
        for first, second in zip(*sides, strict=True)
    )
    document: dict[str, Any] = {"area": areas[0], "area_against": areas[1], "value": difference}
    if not variance > 0:
        reason = "too few, or both order all slides alike: no interval can be computed"
        return {**document, "low": None, "high": None, "z": None, "p": None, "reason": reason}
    spread = math.sqrt(variance)
    z = difference / spread
    width = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * spread
    return {
        **document,
        "low": difference - width,
        "high": difference + width,
        "z": z,
        "p": math.erfc(abs(z) / math.sqrt(2)),
        "reason": None,
    }
