"""Building blocks shared by several architectures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

Norm = Callable[[int], nn.Module]
"""Makes a normalisation for a number of channels."""


class ResidualBlock(nn.Module):
    """A block whose output is added to its input."""

    @property
    @abstractmethod
    def last_norm(self) -> nn.Module:
        """The normalisation at the end of the branch beside the shortcut."""


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation with fixed parameters, all four of them buffers.

    Detectors are fine-tuned with few images per step, so their trunk keeps its pre-trained
    statistics. In evaluation an ordinary batch norm computes the same.

    Parameters
    ----------
    channels : C of the input (N, C, H, W).
    eps : added to the variance; see `FasterRcnnNetworks`.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return float32 of the shape of `x`."""
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )
