"""A small residual network: which kind of cell."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from edgeapl.export.blood_cells.classes import GROUPS, KINDS

WIDTHS = (24, 48, 96, 160)
FEATURES = 64
GROUP_OUTPUTS = ("neutrophil", "immature_granulocyte")
"""Sums of the kinds that the two unspecified folders of the set name, in their order."""

_MIXING = torch.zeros(len(GROUPS), len(KINDS))
for _row, _kinds in enumerate(GROUPS.values()):
    _MIXING[_row, [KINDS.index(kind) for kind in _kinds]] = 1.0


def _conv(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )


class _Block(nn.Module):
    """Two convolutions and a short cut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(inside, outside, stride),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.skip: nn.Module = nn.Identity()
        if stride > 1:
            self.skip = nn.Sequential(
                nn.AvgPool2d(stride), nn.Conv2d(inside, outside, 1, bias=False)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.skip(x))


class BloodCells(nn.Module):
    """uint8 (N, 112, 112, 3) RGB to one probability (N,) per kind and group, features (N, 64).

    The colours are taken as optical densities, in which stains add up; the lamp's colour and
    brightness are removed per crop by its brightest part. Both lie in the graph, so they travel
    with it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, WIDTHS[0], 2)
        self.trunk = nn.Sequential(
            *[_Block(a, b, 2) for a, b in itertools.pairwise(WIDTHS)],
            _Block(WIDTHS[-1], WIDTHS[-1], 1),
        )
        self.embed = nn.Sequential(nn.Linear(2 * WIDTHS[-1], FEATURES), nn.ReLU(inplace=True))
        self.kinds = nn.Linear(FEATURES, len(KINDS))
        self.register_buffer("mixing", _MIXING.T.clone(), persistent=False)

    def logits(self, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N, 11) and features (N, 64) of uint8 or float (N, 112, 112, 3)."""
        x = cells.permute(0, 3, 1, 2).to(torch.float32)
        lamp = nn.functional.avg_pool2d(x, 4).amax(dim=(2, 3), keepdim=True).clamp(min=32.0)
        x = 4.0 * torch.log((lamp + 8.0) / (x + 8.0)) - 1.0
        x = self.trunk(self.stem(x)).to(torch.float32)
        features = self.embed(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1))
        return self.kinds(features), features

    def forward(self, cells: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return a probability (N,) per kind, then per group, and features (N, 64)."""
        logits, features = self.logits(cells)
        kinds = torch.softmax(logits, dim=1)
        # A sum of rounded shares may lie a hair above 1.
        groups = (kinds @ self.mixing).clamp(0.0, 1.0)
        return (*kinds.unbind(1), *groups.unbind(1), features)
