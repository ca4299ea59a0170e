"""Progressive training at several granularities: an image is cut into patches and shuffled.

Du et al. 2020, "Fine-grained visual classification via progressive multi-granularity training of
jigsaw patches" (ECCV), section 3: a step of the optimiser for every granularity, from the finest
on, then one for all of them together, on the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgeapl.export.architectures.pmg import Pmg, pool
from edgeapl.export.training.image_objective import ImageObjective
from edgeapl.export.training.objective import Part, Predictions
from edgeapl.types import Float32, Int64

PATCHES = (8, 4, 2, 1)
"""Patches along a side in each step of an iteration; the last is the whole image."""

SMALLEST_MEAN = 1e-6
"""Below, the stage before sends nothing here, and nothing is learned."""

WHOLE_WEIGHT = 2.0
"""Weight of the last step's loss, as in the public code of Du et al."""


@dataclass(frozen=True, slots=True, eq=False)
class JigsawObjective:
    """Four steps for each batch, one for every classifier of a `Pmg`.

    images : draws batches, and judges cells with the sum of the four predictions.
    guide : float32 (N,), weight of the loss of every row of the pool, 0 or more. Over what is
        learned from they are brought to a mean of 1, so that a batch of cells that belong
        elsewhere teaches little.
    """

    images: ImageObjective
    guide: Float32
    _mean: float = field(init=False)

    def __post_init__(self) -> None:
        mean = float(self.guide[self.images.data.train].mean())
        object.__setattr__(self, "_mean", max(mean, SMALLEST_MEAN))

    def batches(self, random: np.random.Generator) -> Sequence[Int64]:
        """Return the rows of each step, two at least: a batch norm cannot learn from one."""
        found = list(self.images.batches(random))
        if len(found) > 1 and len(found[-1]) == 1:
            found[-2:] = [np.concatenate(found[-2:])]
        return found

    def parts(self, module: nn.Module, batch: Any, random: torch.Generator) -> Iterator[Part]:
        """Yield the losses of 64, 16 and 4 patches, and of the whole image."""
        assert isinstance(module, Pmg)
        data = self.images.data
        cells = data.augmented(batch, random)
        truth = torch.from_numpy(data.truth[batch]).to(cells.device)
        weights = torch.from_numpy(self.guide[batch] / self._mean).to(cells.device)
        for step, patches in enumerate(PATCHES):
            with data.device.autocast():
                maps = module.maps(shuffled(cells, patches, random))
                logits = module.granularities(pool(maps))[step].float()
            each = functional.cross_entropy(logits, truth, reduction="none")
            loss = (each * weights).mean()
            if patches > 1:
                yield Part(loss, [], np.empty((0, logits.shape[1]), dtype=np.float32))
                continue
            probabilities = logits.detach().softmax(-1).cpu().numpy()
            yield Part(WHOLE_WEIGHT * loss, data.truth[batch].tolist(), probabilities)

    def predict(self, module: nn.Module, rows: Int64) -> Predictions:
        """Judge the images of these rows, each for itself."""
        said: Predictions = self.images.predict(module, rows)
        return said


def shuffled(images: torch.Tensor, patches: int, random: torch.Generator) -> torch.Tensor:
    """Cut images into patches and lay these anew, in the same order for a whole batch.

    Parameters
    ----------
    images : float32 (N, 3, S, S). patches : along a side; must divide S.
    """
    if patches == 1:
        return images
    count, channels, side, _ = images.shape
    of = side // patches
    order = torch.randperm(patches * patches, generator=random).to(images.device)
    grid = images.reshape(count, channels, patches, of, patches, of).permute(2, 4, 0, 1, 3, 5)
    grid = grid.reshape(patches * patches, count, channels, of, of)[order]
    grid = grid.reshape(patches, patches, count, channels, of, of).permute(2, 3, 0, 4, 1, 5)
    whole = grid.reshape(count, channels, side, side)
    return whole.contiguous(memory_format=torch.channels_last)


def answer(module: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the summed logits (N, C) and the coarsest features (N, 1024)."""
    assert isinstance(module, Pmg)
    pooled = pool(module.maps(images))
    one, two, three, together = module.granularities(pooled)
    return one + two + three + together, pooled[-1]
