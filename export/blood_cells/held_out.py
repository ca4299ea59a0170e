"""Figures on held-out cells: per class, whatever lies around them, whatever the scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeapl.evaluation.ranking import delong, roc_auc
from edgeapl.export.blood_cells.augmentation import ground_of, soft_outline
from edgeapl.export.blood_cells.classes import FOLDERS, GROUPS, KINDS
from edgeapl.export.blood_cells.network import BloodCells
from edgeapl.export.blood_cells.pool import Pool, shown
from edgeapl.export.blood_cells.trainer import predict
from edgeapl.stages.intervals import wilson
from edgeapl.types import UInt8

CONFIDENCE = 0.95
THRESHOLD = 0.5
"""A cell counts for a kind, or a group of kinds, from this probability on."""

IMMATURE = GROUPS["immature_granulocyte_unspecified"]
USUAL = {
    "neutrophil_segmented": 0.57,
    "neutrophil_band": 0.03,
    "eosinophil": 0.025,
    "basophil": 0.005,
    "lymphocyte": 0.30,
    "monocyte": 0.07,
}
"""A usual differential count of an adult: the middles of the ranges of Bain, Blood Cells, 5th ed.
2015, brought to a sum of 1."""

SEED = 5


def figures(network: BloodCells, pool: Pool) -> dict[str, Any]:
    """Return figures on cells that nothing was trained on."""
    scores, _ = predict(network, shown(pool.cells))
    right = _right(scores, pool)
    named = pool.folder < len(KINDS)
    return {
        "cells": len(pool),
        "accuracy": _share(right[named]),
        "classes": {
            name: _share(right[pool.folder == row])
            for row, name in enumerate(FOLDERS)
            if (pool.folder == row).any()
        },
        "called": {
            name: np.bincount(scores[pool.folder == row].argmax(1), minlength=len(KINDS)).tolist()
            for row, name in enumerate(FOLDERS)
        },
        "promyelocyte": _area(
            scores[named, KINDS.index("promyelocyte")],
            pool.folder[named] == KINDS.index("promyelocyte"),
        ),
        "errors_on_mature": {
            "promyelocyte": _usual(_probability(scores, ("promyelocyte",)), pool),
            "immature_granulocyte": _usual(_probability(scores, IMMATURE), pool),
        },
        "other_ground": _share(_right(_on_other_ground(network, pool), pool)[named]),
        "ground_alone": _share(_right(_ground_alone(network, pool), pool)[named]),
        "largest_class": _share(pool.folder[named] == np.bincount(pool.folder[named]).argmax()),
    }


def _right(scores: NDArray[np.float32], pool: Pool) -> NDArray[np.bool_]:
    """Tell which cells are called what they are; of groups, one of their kinds."""
    allowed = np.zeros((len(FOLDERS), len(KINDS)), bool)
    for row, name in enumerate(FOLDERS):
        allowed[row, [KINDS.index(kind) for kind in GROUPS.get(name, (name,))]] = True
    return np.asarray(allowed[pool.folder, scores.argmax(1)])


def _probability(scores: NDArray[np.float32], kinds: tuple[str, ...]) -> NDArray[np.float32]:
    return np.asarray(scores[:, [KINDS.index(kind) for kind in kinds]].sum(1))


def _usual(probability: NDArray[np.float32], pool: Pool) -> dict[str, float]:
    """Return the share of a usual differential that is called so, and the upper end of each class.

    The upper end takes every class at the upper end of its interval, which is more than one needs.
    """
    share, high = 0.0, 0.0
    for kind, part in USUAL.items():
        called = probability[pool.folder == FOLDERS.index(kind)] >= THRESHOLD
        share += part * float(called.mean())
        high += part * wilson(int(called.sum()), len(called), CONFIDENCE).high
    return {"share": share, "high": high}


def _on_other_ground(network: BloodCells, pool: Pool) -> NDArray[np.float32]:
    """Show every cell on the ground of a cell of another class."""
    random = np.random.default_rng(SEED)
    other = random.permutation(len(pool))
    for row in np.flatnonzero(pool.folder[other] == pool.folder):
        other[row] = random.choice(np.flatnonzero(pool.folder != pool.folder[row]))
    cells, inside = torch.from_numpy(pool.cells), torch.from_numpy(pool.inside)
    own = soft_outline(inside).float()[..., None] / 255
    ground = ground_of(cells[other], inside[other])
    laid = cells * own + ground * (1 - own)
    return predict(network, _bytes(laid))[0]


def _ground_alone(network: BloodCells, pool: Pool) -> NDArray[np.float32]:
    cells, inside = torch.from_numpy(pool.cells), torch.from_numpy(pool.inside)
    return predict(network, _bytes(ground_of(cells, inside)))[0]


def _bytes(cells: torch.Tensor) -> UInt8:
    return shown(cells.round().to(torch.uint8).numpy())


def _share(right: NDArray[np.bool_]) -> dict[str, float]:
    interval = wilson(int(right.sum()), len(right), CONFIDENCE)
    return {
        "cells": len(right),
        "right": int(right.sum()),
        "share": float(right.mean()),
        "low": interval.low,
        "high": interval.high,
    }


def _area(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> dict[str, float]:
    values = scores.astype(np.float64)
    interval = delong(positive, values) or (float("nan"), float("nan"))
    return {"area": roc_auc(positive, values), "low": interval[0], "high": interval[1]}
