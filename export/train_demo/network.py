"""A small network: one trunk, three questions about each cell."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from edgeapl.export.train_demo.pool import ROLE_NAMES

WIDTHS = (16, 32, 64, 96)
FEATURES = 64


def _conv(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )


class _Block(nn.Module):
    """Two convolutions and a shortcut, halving the side."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(inside, outside, 2),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.skip = nn.Conv2d(inside, outside, 1, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.skip(x))


class CellNetwork(nn.Module):
    """uint8 (N, 96, 96, 3) RGB to one probability (N,) per role and features (N, 64).

    Colours are converted to optical densities, in which stains add up; the lamp's brightness is
    removed per crop by its brightest pixels. Both are part of the graph, so they are exported with
    it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv(3, WIDTHS[0], 2)
        self.trunk = nn.Sequential(*[_Block(a, b) for a, b in itertools.pairwise(WIDTHS)])
        self.embed = nn.Sequential(nn.Linear(2 * WIDTHS[-1], FEATURES), nn.ReLU(inplace=True))
        self.heads = nn.Linear(FEATURES, len(ROLE_NAMES))

    def logits(self, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N, 3) and features (N, 64)."""
        x = cells.permute(0, 3, 1, 2).to(torch.float32)
        white = x.amax(dim=(2, 3), keepdim=True).clamp(min=32.0)
        x = 4.0 * torch.log((white + 8.0) / (x + 8.0)) - 1.0
        x = self.trunk(self.stem(x))
        features = self.embed(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1))
        return self.heads(features), features

    def forward(
        self, cells: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return a probability (N,) per role, and features (N, 64)."""
        logits, features = self.logits(cells)
        p = torch.sigmoid(logits)
        return p[:, 0], p[:, 1], p[:, 2], features
