"""Layers that several parts of Segment Anything share."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of each position of a map (N, C, H, W)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        centred = x - x.mean(1, keepdim=True)
        variance = (centred * centred).mean(1, keepdim=True)
        normed = centred * torch.rsqrt(variance + self.eps)
        return normed * self.weight[:, None, None] + self.bias[:, None, None]


class TwoLayers(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, width: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.act = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., width) to the same shape."""
        answer: torch.Tensor = self.lin2(self.act(self.lin1(x)))
        return answer


class Perceptron(nn.Module):
    """Linear layers with a ReLU after each but the last."""

    def __init__(self, inside: int, hidden: int, outside: int, layers: int) -> None:
        super().__init__()
        widths = [inside, *[hidden] * (layers - 1), outside]
        self.layers = nn.ModuleList(nn.Linear(one, other) for one, other in pairwise(widths))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., inside) to (..., outside)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = torch.relu(layer(x))
        answer: torch.Tensor = last(x)
        return answer


def neck(inside: int, outside: int) -> nn.Sequential:
    """Two convolutions that bring an encoder's map to the width of the decoder."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 1, bias=False),
        LayerNorm2d(outside),
        nn.Conv2d(outside, outside, 3, padding=1, bias=False),
        LayerNorm2d(outside),
    )


def in_windows(x: torch.Tensor, side: int) -> torch.Tensor:
    """Cut a map (1, H, W, C) into windows (windows, side, side, C), row by row.

    Where H or W is no multiple of the side, zeros are added to the right and below.
    """
    _, height, width, channels = x.shape
    rows, columns = -(-height // side), -(-width // side)
    x = nn.functional.pad(x, (0, 0, 0, columns * side - width, 0, rows * side - height))
    x = x.reshape(rows, side, columns, side, channels).transpose(1, 2)
    return x.reshape(rows * columns, side, side, channels)


def out_of_windows(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Put windows (windows, side, side, C) together again: (1, height, width, C)."""
    _, side, _, channels = x.shape
    rows, columns = -(-height // side), -(-width // side)
    x = x.reshape(rows, columns, side, side, channels).transpose(1, 2)
    return x.reshape(1, rows * side, columns * side, channels)[:, :height, :width]
