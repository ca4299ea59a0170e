"""A student: one small trunk, and a head for every network of cells whose answers it is taught.

A strided convolution and three residual blocks (He et al. 2016), each of which halves the side,
over an average of the image that brings it to about `SIDE` px; the largest and the
mean of every channel make the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from edgeapl.export.architectures.mil_small import MilBlock

SIDE = 112
FEATURES = 128
WIDTHS = (32, 64, 128, 192)


@dataclass(frozen=True, slots=True)
class Head:
    """One network of the parent.

    classes : outputs of which each cell has the likeliest. others : outputs that are asked one by
        one.
    when : (network, class) of the cells that it is shown; None for all. after : network whose
        output it takes; it sees the cells that this one sees.
    """

    network: str
    classes: tuple[str, ...]
    others: tuple[str, ...]
    when: tuple[str, str] | None = None
    after: str | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """All outputs, in the order of the head's columns."""
        return (*self.classes, *self.others)


class Student(nn.Module):
    """float32 (N, 3, S, S) RGB of 0 to 1 to a table of probabilities (N, outputs) per head.

    Probabilities of a head that its parent's network would not be shown the cell for are 0.

    Parameters
    ----------
    heads : each after those it waits for. side : S, px. wanted : side of the trunk's input, px,
        about: the image is averaged over whole pixels.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, heads: Sequence[Head], side: int, wanted: int = SIDE) -> None:
        super().__init__()
        self.heads = tuple(heads)
        self.step = max(1, round(side / wanted))
        # Of stained cells, as in `MilSmall`.
        self.register_buffer("mean", torch.tensor([0.75, 0.65, 0.70]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.22, 0.25, 0.18]).view(1, 3, 1, 1))
        # A block with its short cut on the colours themselves corrupted the heap in torch's
        # backward pass (seen at 112 px; why is not known); behind a convolution it does not.
        self.trunk = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 3, 2, 1, bias=False),
            nn.BatchNorm2d(WIDTHS[0]),
            nn.ReLU(inplace=True),
            *(MilBlock(inside, outside) for inside, outside in pairwise(WIDTHS)),
        )
        self.embed = nn.Sequential(nn.Linear(2 * WIDTHS[-1], FEATURES), nn.ReLU(inplace=True))
        self.answers = nn.ModuleList(nn.Linear(FEATURES, len(head.outputs)) for head in self.heads)

    def logits(self, cells: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Return a table of logits (N, outputs) per head, and features (N, 128)."""
        if self.step > 1:
            cells = functional.avg_pool2d(cells, self.step)
        x = self.trunk((cells - self.mean) / self.std)
        features = self.embed(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        return tuple(answer(features) for answer in self.answers), features

    def probabilities(self, logits: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Return the tables of probabilities; a cell is shown to heads as the parent shows it."""
        tables: dict[str, torch.Tensor] = {}
        shown: dict[str, torch.Tensor] = {}
        for head, values in zip(self.heads, logits, strict=True):
            split = len(head.classes)
            parts = [values[:, :split].softmax(1)] if split else []
            parts += [values[:, split:].sigmoid()] if head.others else []
            table = torch.cat(parts, 1)
            gates = [] if head.after is None else [shown[head.after]]
            if head.when is not None:
                network, name = head.when
                place = self._head(network).classes.index(name)
                classes = tables[network][:, : len(self._head(network).classes)]
                gates += [shown[network], (classes.argmax(1) == place).to(table.dtype)[:, None]]
            gate = torch.ones_like(table[:, :1])
            for one in gates:
                gate = gate * one
            shown[head.network] = gate
            tables[head.network] = table * gate
        return tuple(tables[head.network] for head in self.heads)

    def forward(self, cells: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return a table of probabilities (N, outputs) per head."""
        return self.probabilities(self.logits(cells)[0])

    def _head(self, network: str) -> Head:
        return next(head for head in self.heads if head.network == network)
