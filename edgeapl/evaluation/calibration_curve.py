"""Whether probabilities are calibrated: the calibration curve, and the Brier score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeapl.evaluation.confusion import CONFIDENCE
from edgeapl.evaluation.ranking import SAMPLES, Float64, Truth, bootstrap
from edgeapl.stages.intervals import wilson

MOST_BINS = 10
FEWEST_IN_A_BIN = 5


def calibration_document(truth: Truth, scores: Float64, groups: Sequence[str]) -> dict[str, Any]:
    """Return the Brier score with its interval and skill, and the curve, as plain JSON values.

    Parameters
    ----------
    truth : bool (N,). scores : float64 (N,), 0 to 1. groups : rows that the bootstrap resamples
        together, e.g. patients.

    The score (Brier 1950) is the mean squared difference of probability and truth: 0 is best. Its
    skill compares it with always predicting the share of positives. The bins of the curve hold
    equally many rows, as far as ties allow.
    """
    brier = brier_score(truth, scores)
    plain = float(truth.mean() * (1 - truth.mean()))
    around = bootstrap(brier_score, truth, scores, groups) if plain > 0 else None
    low, high = around or (None, None)
    return {
        "brier": {
            "value": brier,
            "low": low,
            "high": high,
            "method": f"bootstrap, {SAMPLES} samples",
        },
        "brier_skill": 1 - brier / plain if plain else None,
        "curve": calibration_curve(truth, scores),
    }


def brier_score(truth: Truth, scores: Float64) -> float:
    """Return the mean squared difference of probabilities and truth, 0 to 1."""
    return float(np.mean((scores - truth) ** 2))


def calibration_curve(truth: Truth, scores: Float64) -> list[dict[str, Any]]:
    """Return, per bin, the mean probability and the share of positives with its Wilson interval."""
    bins = max(1, min(MOST_BINS, len(scores) // FEWEST_IN_A_BIN))
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, bins + 1)[1:-1]))
    places = np.searchsorted(edges, scores, side="left")
    curve = []
    for place in np.unique(places).tolist():
        rows = places == place
        positive, count = int(truth[rows].sum()), int(rows.sum())
        interval = wilson(positive, count, CONFIDENCE)
        curve.append(
            {
                "mean_probability": float(scores[rows].mean()),
                "share": positive / count,
                "low": interval.low,
                "high": interval.high,
                "k": positive,
                "n": count,
            }
        )
    return curve
