"""Learning from shares: a slide is judged by how many of its cells were called what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgeapl.export.training.bag_objective import predictions_of, slides_of
from edgeapl.export.training.objective import Part, Predictions, class_weights
from edgeapl.export.training.training_data import TrainingData
from edgeapl.types import Float32, Int64


class ShareAnswer(nn.Module):
    """One fully connected layer: float32 (N, R) shares to logits (N, 2), of which the first is 0.

    So softmax of both is the logistic function of the layer.
    """

    def __init__(self, roles: int) -> None:
        super().__init__()
        self.linear = nn.Linear(roles, 1)

    def forward(self, shares: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        logit = self.linear(shares)
        return torch.cat((torch.zeros_like(logit), logit), 1)


@dataclass(frozen=True, slots=True, eq=False)
class ShareObjective:
    """Cross-entropy of slides by the shares of their cells.

    Slides are changed at random by drawing their cells with replacement, as the networks of cells
    have answered already.

    calls : float32 (N, R), 1 where the cell of a row was called so, else 0.
    """

    data: TrainingData
    calls: Float32
    _slides: tuple[Int64, ...] = field(init=False)
    _weights: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        data = self.data
        slides = slides_of(data, data.train)
        truth = np.array([data.truth[rows[0]] for rows in slides], dtype=np.int64)
        weights = class_weights(truth, len(data.classes))
        object.__setattr__(self, "_slides", slides)
        object.__setattr__(self, "_weights", weights.to(data.device.kind))

    def batches(self, random: np.random.Generator) -> Sequence[tuple[Int64, ...]]:
        """Return every slide once an epoch, in a new order, each with cells drawn anew."""
        size = self.data.settings.batch
        order = random.permutation(len(self._slides)).tolist()
        drawn = [random.choice(self._slides[at], len(self._slides[at])) for at in order]
        return [tuple(drawn[start : start + size]) for start in range(0, len(drawn), size)]

    def parts(self, module: nn.Module, batch: Any, random: torch.Generator) -> Iterator[Part]:
        """Yield one part: the loss of these slides."""
        logits = module(self._shares(batch))
        truth = [int(self.data.truth[rows[0]]) for rows in batch]
        wanted = torch.tensor(truth, device=logits.device)
        loss = functional.cross_entropy(logits, wanted, self._weights)
        yield Part(loss, truth, logits.detach().softmax(-1).cpu().numpy())

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def predict(self, module: nn.Module, rows: Int64) -> Predictions:
        """Judge the slides of these rows, each by all its cells."""
        data = self.data
        slides = slides_of(data, rows)
        order = np.concatenate(slides)
        said = module(self._shares(slides)).softmax(-1).cpu().numpy()
        alone = module(self._shares([row[None] for row in order])).softmax(-1).cpu().numpy()
        return predictions_of(data, slides, said, self.calls[order], alone)

    def _shares(self, slides: Sequence[Int64]) -> torch.Tensor:
        shares = np.stack([self.calls[rows].mean(0) for rows in slides])
        return torch.from_numpy(shares).to(self.data.device.kind)
