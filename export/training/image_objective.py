"""Learning from single images: each has a class of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgeapl.export.training.objective import Part, Predictions, class_weights, mean_of
from edgeapl.export.training.training_data import TrainingData
from edgeapl.types import Float32, Int64

Answer = Callable[[nn.Module, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Gives, of a network and cells (N, 3, S, S), logits (N, C) and features (N, D)."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageObjective:
    """Cross-entropy of images.

    answer : how the network is asked.
    even : every class is drawn as often as the others; else every image once an epoch, and
        `Settings.balanced` weighs the losses instead.
    smoothing : share of the truth that is spread over all classes.
    alone : figures count every image for itself, as a patient has images of several classes.
    """

    data: TrainingData
    answer: Answer
    even: bool = False
    smoothing: float = 0.0
    alone: bool = False
    _weights: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        data = self.data
        weights = class_weights(data.truth[data.train], len(data.classes))
        if self.even or not data.settings.balanced:
            weights = torch.ones(len(data.classes))
        object.__setattr__(self, "_weights", weights.to(data.device.kind))

    def batches(self, random: np.random.Generator) -> Sequence[Int64]:
        """Return the rows of each step; the last step of an epoch may have fewer."""
        data = self.data
        rows = data.train
        if self.even:
            truth = data.truth[rows]
            own = [rows[truth == one] for one in np.unique(truth)]
            each = -(-len(rows) // len(own))
            rows = np.concatenate([_drawn(some, each, random) for some in own])
        rows = rows[random.permutation(len(rows))]
        size = data.settings.batch
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def parts(self, module: nn.Module, batch: Any, random: torch.Generator) -> Iterator[Part]:
        """Yield one part: the loss of these images."""
        data = self.data
        with data.device.autocast():
            logits, _ = self.answer(module, data.augmented(batch, random))
        truth = torch.from_numpy(data.truth[batch]).to(logits.device)
        loss = functional.cross_entropy(
            logits.float(), truth, self._weights, label_smoothing=self.smoothing
        )
        probabilities = logits.detach().float().softmax(-1).cpu().numpy()
        yield Part(loss, data.truth[batch].tolist(), probabilities)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def predict(self, module: nn.Module, rows: Int64) -> Predictions:
        """Judge the images of these rows, each for itself."""
        data = self.data
        said: list[Float32] = []
        every: list[Float32] = []
        for cells in data.passes(rows):
            with data.device.autocast():
                answers = [self.answer(module, chunk) for chunk in cells]
            logits, features = (torch.cat(each).float() for each in zip(*answers, strict=True))
            said.append(logits.softmax(-1).cpu().numpy())
            every.append(features.cpu().numpy())
        probabilities = mean_of(said)
        images = [data.pool.images[row] for row in rows.tolist()]
        names = tuple(str(image.file) for image in images)
        return Predictions(
            classes=data.classes,
            names=names,
            patients=names if self.alone else tuple(image.patient for image in images),
            truth=data.truth[rows],
            probabilities=probabilities,
            cells=rows,
            features=mean_of(every),
            cell_scores=probabilities,
        )


def _drawn(rows: Int64, count: int, random: np.random.Generator) -> Int64:
    """Draw rows: each as often as the others, up to one."""
    whole, rest = divmod(count, len(rows))
    more = random.choice(rows, rest, replace=False)
    return np.concatenate([np.tile(rows, whole), more]).astype(np.int64)
