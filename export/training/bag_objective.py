"""Learning from the diagnoses of slides: a bag of cells is judged as one (multiple instances)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgeapl.export.training.objective import Part, Predictions, class_weights, mean_of
from edgeapl.export.training.training_data import UNKNOWN, TrainingData
from edgeapl.types import Float32, Int64

Bag = Int64
"""Rows of some cells of one slide."""


class BagNetwork(Protocol):
    """What a network of bags can do."""

    def encode(self, cells: torch.Tensor) -> torch.Tensor:
        """Float32 (N, 3, S, S) to features (N, D)."""

    def judge(self, features: torch.Tensor) -> torch.Tensor:
        """Features of bags (..., K, D) to logits (..., classes)."""

    def name_cells(self, features: torch.Tensor) -> torch.Tensor | None:
        """Features (N, D) to logits (N, cell classes); None where cells have no classes."""


@dataclass(frozen=True, slots=True, eq=False)
class BagObjective:
    """Cross-entropy of bags, and of their cells' classes where these are known.

    data : cells and classes. cell_share : weight of the cells' loss beside the slides'.
    """

    data: TrainingData
    cell_share: float = 0.0
    _slides: tuple[Int64, ...] = field(init=False)
    _weights: torch.Tensor = field(init=False)
    _cell_weights: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        slides = slides_of(self.data, self.data.train)
        truth = np.array([self.data.truth[rows[0]] for rows in slides], dtype=np.int64)
        known = self.data.cell_truth[self.data.train]
        known = known[known != UNKNOWN]
        device, classes = self.data.device.kind, len(self.data.classes)
        weights = class_weights(truth, classes)
        if not self.data.settings.balanced:
            weights = torch.ones(classes)
        cells = max(1, len(self.data.cell_classes))
        # The root: rare classes count for more, but one odd cell does not count for a hundred.
        cell_weights = class_weights(known, cells).sqrt() if len(known) else torch.ones(cells)
        object.__setattr__(self, "_slides", slides)
        object.__setattr__(self, "_weights", weights.to(device))
        object.__setattr__(self, "_cell_weights", cell_weights.to(device))

    def batches(self, random: np.random.Generator) -> Sequence[tuple[Bag, ...]]:
        """Return every slide once an epoch, in a new order, each as a new bag."""
        settings = self.data.settings
        order = random.permutation(len(self._slides)).tolist()
        bags = [self._bag(self._slides[at], random) for at in order]
        return [
            tuple(bags[start : start + settings.batch])
            for start in range(0, len(bags), settings.batch)
        ]

    def parts(self, module: nn.Module, batch: Any, random: torch.Generator) -> Iterator[Part]:
        """Yield one part: the loss of these bags."""
        network: BagNetwork = module
        data = self.data
        rows = np.concatenate(batch)
        truth = [int(data.truth[bag[0]]) for bag in batch]
        with data.device.autocast():
            features = network.encode(data.augmented(rows, random))
            bags = features.split([len(bag) for bag in batch])
            logits = torch.stack([network.judge(bag) for bag in bags])
            names = network.name_cells(features) if self.cell_share else None
        wanted = torch.tensor(truth, device=logits.device)
        loss = functional.cross_entropy(logits.float(), wanted, self._weights)
        known = data.cell_truth[rows]
        if names is not None and (known != UNKNOWN).any():
            classes = torch.from_numpy(known).to(logits.device)
            of_cells = functional.cross_entropy(
                names.float(), classes, self._cell_weights, ignore_index=UNKNOWN
            )
            loss = loss + self.cell_share * of_cells
        yield Part(loss, truth, logits.detach().float().softmax(-1).cpu().numpy())

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def predict(self, module: nn.Module, rows: Int64) -> Predictions:
        """Judge the slides of these rows, each by all its cells."""
        network: BagNetwork = module
        data = self.data
        slides = slides_of(data, rows)
        order = np.concatenate(slides)
        ends = np.cumsum([len(slide) for slide in slides])[:-1].tolist()
        of_slides: list[Float32] = []
        of_cells: list[Float32] = []
        every: list[Float32] = []
        for cells in data.passes(order):
            with data.device.autocast():
                features = torch.cat([network.encode(chunk) for chunk in cells])
                bags = torch.tensor_split(features, ends)
                judged = torch.stack([network.judge(bag) for bag in bags])
                alone = network.judge(features[:, None])
            of_slides.append(judged.float().softmax(-1).cpu().numpy())
            of_cells.append(alone.float().softmax(-1).cpu().numpy())
            every.append(features.float().cpu().numpy())
        return predictions_of(data, slides, mean_of(of_slides), mean_of(every), mean_of(of_cells))

    def _bag(self, slide: Int64, random: np.random.Generator) -> Bag:
        size = min(len(slide), self.data.settings.bag)
        return np.asarray(random.choice(slide, size, replace=False), dtype=np.int64)


def slides_of(data: TrainingData, rows: Int64) -> tuple[Int64, ...]:
    """Return the rows of each slide, in the order in which slides first come."""
    found: dict[tuple[str, str], list[int]] = {}
    for row in rows.tolist():
        image = data.pool.images[row]
        found.setdefault((image.patient, image.slide), []).append(row)
    return tuple(np.array(each, dtype=np.int64) for each in found.values())


def predictions_of(
    data: TrainingData,
    slides: Sequence[Int64],
    probabilities: Float32,
    features: Float32,
    cell_scores: Float32,
) -> Predictions:
    """Return what a network says of slides, given by the rows of each; see `Predictions`."""
    first = [int(slide[0]) for slide in slides]
    return Predictions(
        classes=data.classes,
        names=tuple(data.pool.images[row].slide for row in first),
        patients=tuple(data.pool.images[row].patient for row in first),
        truth=data.truth[first],
        probabilities=probabilities,
        cells=np.concatenate(slides),
        features=features,
        cell_scores=cell_scores,
    )
