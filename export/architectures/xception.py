"""Xception, the cell networks of Eckardt 2022 (myeloblast, promyelocyte, Auer rod).

Eckardt 2022, BMC Cancer, "Cell labeling and cell-level classification": "based on the Xception
CNN", 299 x 299 px per cell, "the fully connected exit flow layers for the 2048-dimensional output
vectors of the core Xception architecture" modified to "between one and three fully connected
layers with dropout", found per network by a search. Xception itself: Chollet 2017, Fig. 5.

The widths of the fully connected layers and the dropout rate are not stated: both are parameters.
Neither is the activation between them: ReLU. Each network is binary, so one logit.

Keys: as in the PyTorch port of Chollet's weights (conv1, block1 ... block12, conv3, conv4, fc).
That port is fed RGB in [-1, 1] (mean 0.5, standard deviation 0.5).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from edgeapl.export.architectures.blocks import ResidualBlock

SIDE = 299
FEATURES = 2048
MIDDLE = 728
"""Channels of the middle flow (Chollet 2017, Fig. 5)."""


class SeparableConv2d(nn.Module):
    """A 3 x 3 convolution within each channel, then one across channels."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, inside, 3, padding=1, groups=inside, bias=False)
        self.pointwise = nn.Conv2d(inside, outside, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inside, H, W) to (N, outside, H, W)."""
        return self.pointwise(self.conv1(x))


class KerasPool(nn.Module):
    """3 x 3 max pooling with stride 2, padded as in Keras ("same")."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, S, S) to half the side, rounded up."""
        if x.shape[-1] % 2:
            return functional.max_pool2d(x, 3, 2, 1)
        return functional.max_pool2d(x, 3, 2, 0, ceil_mode=True)


class XceptionBlock(ResidualBlock):
    """Separable convolutions beside a shortcut.

    Parameters
    ----------
    widths : channels before, between and after the convolutions.
    halve : halve the side; then, or when the widths differ, the shortcut is a convolution.
    relu_first : begin with an activation.
    keras : halve as Keras does, which starts at the first pixel if the side is even.
    """

    def __init__(
        self, widths: Sequence[int], *, halve: bool, relu_first: bool = True, keras: bool = False
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside in itertools.pairwise(widths):
            # Not in place: the shortcut reads the same input.
            layers += [nn.ReLU(), SeparableConv2d(inside, outside), nn.BatchNorm2d(outside)]
        self._last_norm = len(layers) - (1 if relu_first else 2)
        if halve:
            layers.append(KerasPool() if keras else nn.MaxPool2d(3, 2, 1))
        self.rep = nn.Sequential(*layers[0 if relu_first else 1 :])
        self.skip: nn.Module | None = None
        if halve or widths[0] != widths[-1]:
            self.skip = nn.Conv2d(widths[0], widths[-1], 1, 2 if halve else 1, bias=False)
            self.skipbn = nn.BatchNorm2d(widths[-1])

    @property
    def last_norm(self) -> nn.Module:
        """The last batch norm of the branch."""
        return self.rep[self._last_norm]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, D, H, W), or half the side rounded up."""
        return self.rep(x) + (x if self.skip is None else self.skipbn(self.skip(x)))


class Xception(nn.Module):
    """Float32 (N, 3, 299, 299) to features (N, 2048) and one logit (N,).

    Parameters
    ----------
    fully_connected : widths of the hidden layers: () is one fully connected layer, keys
        `fc.weight` and `fc.bias`; with more, `fc` is a sequence of linear, ReLU and dropout, so
        that the layers are `fc.0`, `fc.3`, `fc.6`.
    outputs : 1, or the number of classes of a checkpoint with several.
    dropout : rate before each fully connected layer, in training.
    keras : compute as Keras does, for weights that were trained there.
    """

    def __init__(
        self,
        fully_connected: Sequence[int] = (),
        *,
        outputs: int = 1,
        dropout: float = 0.5,
        keras: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.block1 = XceptionBlock((64, 128, 128), halve=True, relu_first=False, keras=keras)
        self.block2 = XceptionBlock((128, 256, 256), halve=True, keras=keras)
        self.block3 = XceptionBlock((256, MIDDLE, MIDDLE), halve=True, keras=keras)
        for number in range(4, 12):
            self.add_module(f"block{number}", XceptionBlock((MIDDLE,) * 4, halve=False))
        self.block12 = XceptionBlock((MIDDLE, MIDDLE, 1024), halve=True, keras=keras)
        self.conv3 = SeparableConv2d(1024, 1536)
        self.bn3 = nn.BatchNorm2d(1536)
        self.conv4 = SeparableConv2d(1536, FEATURES)
        self.bn4 = nn.BatchNorm2d(FEATURES)
        self.dropout = nn.Dropout(dropout)
        self.fc = _fully_connected((FEATURES, *fully_connected), outputs, dropout)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features and logits; logits are (N, outputs) when there are several."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        for number in range(1, 13):
            x = self.get_submodule(f"block{number}")(x)
        x = torch.relu(self.bn3(self.conv3(x)))
        x = torch.relu(self.bn4(self.conv4(x)))
        features = x.mean((2, 3))
        logits = self.fc(self.dropout(features))
        return features, logits[:, 0] if logits.shape[1] == 1 else logits


def _fully_connected(widths: Sequence[int], outputs: int, dropout: float) -> nn.Module:
    layers: list[nn.Module] = []
    for inside, outside in itertools.pairwise(widths):
        layers += [nn.Linear(inside, outside), nn.ReLU(), nn.Dropout(dropout)]
    last = nn.Linear(widths[-1], outputs)
    return nn.Sequential(*layers, last) if layers else last
