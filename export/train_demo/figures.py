"""Figures for the model card: how well roles and slides are distinguished."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeapl.export.architectures.heads import RatioEnsemble
from edgeapl.export.train_demo.pool import ROLE_NAMES
from edgeapl.sources.synthetic.smear import KINDS


def auc(scores: NDArray[Any], positive: NDArray[Any]) -> float:
    """Return the area under the ROC curve: how often a positive outscores a negative, ties half."""
    scores = np.asarray(scores, dtype=np.float64)
    positive = np.asarray(positive, dtype=bool)
    if positive.all() or not positive.any():
        return float("nan")
    order = np.argsort(np.argsort(scores, kind="stable"), kind="stable") + 1.0
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.bincount(group, weights=order) / counts)[group]
    wins = ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2
    return float(wins / (positive.sum() * (~positive).sum()))


def role_figures(
    scores: NDArray[np.float32], truth: NDArray[np.float32], thresholds: NDArray[np.float32]
) -> dict[str, dict[str, float]]:
    """Return AUC, recall and precision at the threshold for every role."""
    figures = {}
    for row, name in enumerate(ROLE_NAMES):
        said, true = scores[:, row] >= thresholds[row], truth[:, row] > 0
        figures[name] = {
            "auc": auc(scores[:, row], true),
            "recall": float((said & true).sum() / max(true.sum(), 1)),
            "precision": float((said & true).sum() / max(said.sum(), 1)),
            "cells": int(true.sum()),
        }
    return figures


def slide_figures(
    head: RatioEnsemble, ratios: NDArray[np.float32], kinds: NDArray[np.int64]
) -> dict[str, dict[str, float]]:
    """Return for every kind of slide the share of bags whose probability reaches one half."""
    with torch.no_grad():
        aml, healthy = head(torch.from_numpy(ratios))
    probability = torch.minimum(aml, healthy).numpy()
    return {
        kind: {
            "bags": int((kinds == number).sum()),
            "over_one_half": float((probability[kinds == number] >= 0.5).mean()),
        }
        for number, kind in enumerate(KINDS)
    }
