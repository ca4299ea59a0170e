"""A small network of cells and slides, for laboratories without a GPU: 0.6 million weights.

Three residual blocks (He et al. 2016) over a strided convolution turn a cell of 128 x 128 px into
128 features. A linear layer names the cell's class; the largest and the mean of every feature over
the cells of a slide, one behind the other, give its diagnosis. Mean and deviation of the colours
lie inside the network: of stained cells, measured once, not of one cohort.

Keys: mean, std, stem, trunk.N.body and .skip, embed.0, cell_head, slide_head.1 and .3.
"""

from __future__ import annotations

import torch
from torch import nn

SIDE = 128
FEATURES = 128
WIDTHS = (24, 48, 96, 160)

CELL_CLASSES = ("promyelocyte", "blast", "granulocyte", "lymphocyte", "monocyte", "other")
CLASSES = ("AML", "APL")


def _convolution(inside: int, outside: int) -> nn.Sequential:
    """Return a convolution that halves the side."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, 2, 1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )


class MilBlock(nn.Module):
    """(N, inside, H, W) to (N, outside, H / 2, W / 2): two convolutions beside a shortcut."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(inside, outside),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.skip = nn.Sequential(
            nn.Conv2d(inside, outside, 1, 2, bias=False), nn.BatchNorm2d(outside)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return 0 or more."""
        return torch.relu(self.body(x) + self.skip(x))


class MilSmall(nn.Module):
    """All cells of one slide, float32 (N, 3, 128, 128) RGB of 0 to 1, to three outputs.

    Parameters
    ----------
    classes : of slides. cell_classes : of cells.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, classes: int = len(CLASSES), cell_classes: int = len(CELL_CLASSES)) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.75, 0.65, 0.70]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.22, 0.25, 0.18]).view(1, 3, 1, 1))
        first, second, third, last = WIDTHS
        self.stem = _convolution(3, first)
        self.trunk = nn.Sequential(
            MilBlock(first, second), MilBlock(second, third), MilBlock(third, last)
        )
        self.embed = nn.Sequential(nn.Linear(2 * last, FEATURES), nn.ReLU(inplace=True))
        self.cell_head = nn.Linear(FEATURES, cell_classes)
        self.slide_head = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(2 * FEATURES, 64),
            nn.ReLU(inplace=True),
            nn.Linear(64, classes),
        )

    def encode(self, cells: torch.Tensor) -> torch.Tensor:
        """Return features (N, 128), 0 or more."""
        x = self.trunk(self.stem((cells - self.mean) / self.std))
        return self.embed(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))

    def judge(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (..., classes) of bags (..., N, 128)."""
        return self.slide_head(torch.cat([features.amax(-2), features.mean(-2)], -1))

    def judge_alone(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (N, classes) of slides that have one of the cells (N, 128) each."""
        return self.judge(features[:, None])

    def name_cells(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (N, cell classes)."""
        return self.cell_head(features)

    def forward(self, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return cell logits (N, cell classes), features (N, 128) and slide logits (classes,)."""
        features = self.encode(cells)
        return self.cell_head(features), features, self.judge(features)
