"""What an objective works with: cells as a network takes them, and their classes as numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from edgeapl.export.recipes.recipe import Images
from edgeapl.export.training.augmentation import Augmentation
from edgeapl.export.training.cell_pool import CellPool
from edgeapl.export.training.device import Device
from edgeapl.export.training.settings import Settings
from edgeapl.types import Int64

UNKNOWN = -1
"""Class of a cell that nobody named."""

CHUNK = 64
"""Cells that are judged at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """All that an objective needs.

    pool : cells. train : int64 (K,), rows that are learned from.
    classes : of slides (or of images); the last is the one that is looked for.
    truth : int64 (N,), class of every row; `UNKNOWN` where there is none.
    cell_classes, cell_truth : the same for single cells, where they have classes of their own.
    images : how the network wants its numbers.
    """

    pool: CellPool
    train: Int64
    classes: tuple[str, ...]
    truth: Int64
    cell_classes: tuple[str, ...]
    cell_truth: Int64
    images: Images
    augmentation: Augmentation
    settings: Settings
    device: Device

    def augmented(self, rows: Int64, random: torch.Generator) -> torch.Tensor:
        """Return cells, changed at random, float32 (K, 3, S, S) as the network takes them."""
        return self._normalised(self.augmentation(self._read(rows), random))

    def plain(self, rows: Int64) -> torch.Tensor:
        """Return cells as they are, float32 (K, 3, S, S) as the network takes them."""
        return self._normalised(self._read(rows))

    def passes(self, rows: Int64) -> Iterator[Iterator[torch.Tensor]]:
        """Yield as many passes over cells as a test averages, each in chunks."""
        for view in range(self.settings.views):
            random = torch.Generator().manual_seed(view)
            plain = self.settings.views == 1
            starts = range(0, len(rows), CHUNK)
            yield (
                self.plain(rows[start : start + CHUNK])
                if plain
                else self.augmented(rows[start : start + CHUNK], random)
                for start in starts
            )

    def _read(self, rows: Int64) -> torch.Tensor:
        cells = torch.from_numpy(self.pool.crops[rows]).to(self.device.kind)
        return cells.permute(0, 3, 1, 2).float().div(255)

    def _normalised(self, x: torch.Tensor) -> torch.Tensor:
        if self.images.colour_order == "bgr":
            x = x.flip(1)
        mean, deviation = (
            torch.tensor(values, device=x.device).view(1, 3, 1, 1)
            for values in (self.images.mean, self.images.deviation)
        )
        x = (x * (255 * self.images.scale) - mean) / deviation
        # Channels last: convolutions take half the time on a processor.
        return x.contiguous(memory_format=torch.channels_last)


def numbered(names: tuple[str, ...], classes: tuple[str, ...]) -> Int64:
    """Return the number of each name among the classes, int64 (N,); `UNKNOWN` for others."""
    place = {name: number for number, name in enumerate(classes)}
    return np.array([place.get(name, UNKNOWN) for name in names], dtype=np.int64)
