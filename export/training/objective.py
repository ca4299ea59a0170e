"""What a network is asked in training: the seam between the loop and each system."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeapl.types import Float32, Int64

_ARRAYS = ("truth", "probabilities", "cells", "cell_scores")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of a step, after which the optimiser moves the weights.

    loss : scalar with its gradient. truth : classes of what was judged, from 0.
    probabilities : float32 (K, C) of the same; empty where a part judges nothing whole.
    """

    loss: torch.Tensor
    truth: Sequence[int]
    probabilities: Float32


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a network says of slides, or of single images.

    classes : names. names, patients : of the K slides or images. truth : int64 (K,), from 0.
    probabilities : float32 (K, C).
    cells : int64 (N,), rows of the pool. features : float32 (N, D) of these cells.
    cell_scores : float32 (N, C), what each cell's slide would get if it had that cell alone.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    patients: tuple[str, ...]
    truth: Int64
    probabilities: Float32
    cells: Int64
    features: Float32
    cell_scores: Float32

    @property
    def loss(self) -> float:
        """Cross-entropy, mean over classes of the mean over their slides."""
        right = self.probabilities[np.arange(len(self.truth)), self.truth].astype(np.float64)
        each = -np.log(np.clip(right, 1e-12, 1))
        means = [each[self.truth == one].mean() for one in np.unique(self.truth)]
        return float(np.mean(means))


def packed(said: Predictions) -> dict[str, Any]:
    """Return predictions as tensors and plain values; features are left out."""
    names = {name: list(getattr(said, name)) for name in ("classes", "names", "patients")}
    arrays = {name: torch.from_numpy(getattr(said, name)) for name in _ARRAYS}
    return {**names, **arrays, "features": torch.empty((len(said.cells), 0))}


def unpacked(content: Mapping[str, Any]) -> Predictions:
    """Return what was packed."""
    arrays = {name: content[name].numpy() for name in (*_ARRAYS, "features")}
    classes, names, patients = (tuple(content[name]) for name in ("classes", "names", "patients"))
    return Predictions(classes=classes, names=names, patients=patients, **arrays)


class Objective(Protocol):
    """Makes batches and losses for one training, and judges.

    A step's numbers depend on the random numbers it is given, and on nothing that was drawn
    before, so that a training that goes on after a kill is the same training.
    """

    def batches(self, random: np.random.Generator) -> Sequence[Any]:
        """Return the batches of one epoch, as many in each."""

    def parts(self, module: nn.Module, batch: Any, random: torch.Generator) -> Iterator[Part]:
        """Yield the losses of a batch; after each, the optimiser makes a step."""

    def predict(self, module: nn.Module, rows: Int64) -> Predictions:
        """Judge what these rows of the pool, int64 (K,), are of; module is in evaluation."""


def class_weights(truth: NDArray[np.int64], classes: int) -> torch.Tensor:
    """Return float32 (C,) weights that make classes weigh alike, with mean 1 over the rows."""
    counts = np.bincount(truth, minlength=classes).astype(np.float64)
    weights = len(truth) / (np.maximum(counts, 1) * max(1, int((counts > 0).sum())))
    return torch.tensor(np.where(counts > 0, weights, 0.0), dtype=torch.float32)


def mean_of(passes: Sequence[Float32]) -> Float32:
    """Return the mean of several passes over the same rows."""
    return np.asarray(np.mean(passes, axis=0), dtype=np.float32)
