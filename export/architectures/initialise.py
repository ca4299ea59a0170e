"""Random weights for studies of speed; the same seed gives the same weights."""

from __future__ import annotations

import math

import torch
from torch import nn

from edgeapl.export.architectures.blocks import FrozenBatchNorm2d, ResidualBlock
from edgeapl.export.architectures.faster_rcnn import BoxPredictor, FeaturePyramid, RpnHead
from edgeapl.export.architectures.segment_anything.random import draw_positions
from edgeapl.export.architectures.xception import SeparableConv2d

BRANCH_SCALE = 0.25
"""Last batch norm of a residual branch. With 1 the variance would double in each of 16 blocks."""

DETECTOR_SPREAD = 0.01
"""Standard deviation of the weights that propose boxes (Ren et al. 2015, section 3.1.3), so that
boxes stay near their anchors.
"""

RELU = 6.0
LINEAR = 3.0


def initialise(module: nn.Module, seed: int) -> None:
    """Fill a network with random weights that keep its outputs at a reasonable scale.

    He et al. 2015 ("Kaiming"), uniform, for convolutions and linear layers, biases 0, batch norms
    with mean 0 and variance 1. torch's global generator is not touched.

    Parameters
    ----------
    module : changed in place.
    seed : 0 or more.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                _fill(part, RELU / part.weight[0].numel(), generator)
            elif isinstance(part, nn.Embedding):
                part.weight.normal_(generator=generator)
            elif isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d, FrozenBatchNorm2d)):
                for tensor, value in (
                    *((part.weight, 1.0), (part.bias, 0.0)),
                    *((part.running_mean, 0.0), (part.running_var, 1.0)),
                ):
                    if tensor is not None:  # a user's layer may lack it
                        tensor.fill_(value)
        for part in module.modules():
            _mind_the_place(part, generator)
            draw_positions(part, generator)


def _mind_the_place(part: nn.Module, generator: torch.Generator) -> None:
    """Refill layers that the rule for layers before a ReLU does not suit."""
    if isinstance(part, SeparableConv2d):
        _fill(part.pointwise, LINEAR / part.pointwise.weight[0].numel(), generator)
    elif isinstance(part, FeaturePyramid):
        for layer in (*part.inner_blocks, *part.layer_blocks):
            _fill(layer[0], LINEAR / layer[0].weight[0].numel(), generator)
    elif isinstance(part, (RpnHead, BoxPredictor)):
        for layer in part.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                _fill(layer, LINEAR * DETECTOR_SPREAD**2, generator)
    elif isinstance(part, ResidualBlock):
        part.last_norm.weight.fill_(BRANCH_SCALE)


def _fill(layer: nn.Module, square: float, generator: torch.Generator) -> None:
    """Draw weights uniformly from -b to b with b * b = square, a variance of square / 3."""
    bound = math.sqrt(square)
    layer.weight.uniform_(-bound, bound, generator=generator)
    if layer.bias is not None:
        layer.bias.fill_(0.0)
