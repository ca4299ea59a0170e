"""The network with spatial attention for subtypes of APL by fusion gene.

"Spatial attention ... APL fusion gene subtypes", "CNN with spatial attention": convolution and
batch norm, three ResNet block layers, after the first of them the attention module, average
pooling, flattening, one fully connected layer to five classes. Attention: a convolution to one
channel M that "linearly combines the information from different channels" at each position, so
1 x 1; A = sigmoid(M); Y = X * A.

Channels, strides, kernel and input size are not stated: 64, 128 and 256 channels as in the first
stages of ResNet-18 (He et al. 2016), first convolution 7 x 7 with stride 2 (no max pool after it:
none is mentioned, and the attention map keeps more detail), stride 2 in the second and third block,
224 x 224 px, global average pooling. The text says that the shortcut "concatenates" the input
and calls it the identity mapping of ResNet: that is the residual sum. It also puts a ReLU after
each batch norm; as in ResNet the second one follows the sum.

Keys: conv1, bn1, layer1 ... layer3 (conv1, bn1, conv2, bn2, shortcut.0 and .1), attention.conv, fc.
"""

from __future__ import annotations

import torch
from torch import nn

from edgeapl.export.architectures.blocks import ResidualBlock

SIDE = 224
CLASSES = ("PML-RARA", "TTMV-RARA", "NPM1-RARA", "STAT5B-RARA", "NUP98-RARG")


class BasicBlock(ResidualBlock):
    """Two 3 x 3 convolutions with batch norm beside a shortcut (He et al. 2016, Fig. 2)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != outside:
            self.shortcut.append(nn.Conv2d(inside, outside, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outside))

    @property
    def last_norm(self) -> nn.Module:
        """The normalisation after the second convolution."""
        return self.bn2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inside, H, W) to (N, outside, H / stride, W / stride), 0 or more."""
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class AttentionModule(nn.Module):
    """Weights each position of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, C, H, W) to the weighed map and the weights (N, 1, H, W) in [0, 1]."""
        attention = torch.sigmoid(self.conv(x))
        return x * attention, attention


class SpatialAttention(nn.Module):
    """Float32 (N, 3, 224, 224) to logits (N, classes) and attention (N, 112, 112) in [0, 1]."""

    def __init__(self, classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = BasicBlock(64, 64, 1)
        self.attention = AttentionModule(64)
        self.layer2 = BasicBlock(64, 128, 2)
        self.layer3 = BasicBlock(128, 256, 2)
        self.fc = nn.Linear(256, classes)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and the attention map, at half the side of the input."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x, attention = self.attention(self.layer1(x))
        x = self.layer3(self.layer2(x))
        return self.fc(x.mean((2, 3))), attention[:, 0]
