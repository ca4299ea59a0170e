"""ResNet-50 and ResNeXt-50 (32 x 4d): the trunks of the detector and of PMG.

He et al. 2016, Table 1 (50 layers); Xie et al. 2017, Table 1 (32 groups of 4 channels). As in
torchvision, the stride of a stage sits in the 3 x 3 convolution. Keys as there: conv1, bn1,
layer1 ... layer4, downsample.0 and .1, and fc if the trunk has a classifier.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgeapl.export.architectures.blocks import Norm, ResidualBlock

BLOCKS = (3, 4, 6, 3)
EXPANSION = 4
STAGE_CHANNELS = (256, 512, 1024, 2048)


class Bottleneck(ResidualBlock):
    """Convolutions 1 x 1, 3 x 3, 1 x 1 beside a shortcut.

    Parameters
    ----------
    inside, outside : channels.
    width, groups : channels and groups of the 3 x 3 convolution.
    stride : 1, or 2 to halve the side.
    norm : makes the normalisations.
    """

    def __init__(
        self, inside: int, outside: int, width: int, groups: int, stride: int, norm: Norm
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, outside, 1, bias=False)
        self.bn3 = norm(outside)
        self.downsample: nn.Module | None = None
        if stride != 1 or inside != outside:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), norm(outside)
            )

    @property
    def last_norm(self) -> nn.Module:
        """The normalisation after the third convolution."""
        return self.bn3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inside, H, W) to (N, outside, H / stride, W / stride)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Float32 (N, 3, H, W) to the outputs of the four stages, at 1/4, 1/8, 1/16 and 1/32.

    Parameters
    ----------
    groups, width_per_group : of the 3 x 3 convolutions; 1 and 64 is ResNet.
    norm : makes the normalisations.
    classes : outputs of `fc`, or None for a trunk without one. `forward` does not use it; it exists
        because checkpoints have it.
    """

    def __init__(
        self,
        groups: int = 1,
        width_per_group: int = 64,
        *,
        norm: Norm = nn.BatchNorm2d,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = norm(64)
        inside = 64
        for stage, (blocks, outside) in enumerate(zip(BLOCKS, STAGE_CHANNELS, strict=True)):
            width = outside // EXPANSION * width_per_group * groups // 64
            layer = nn.Sequential()
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layer.append(Bottleneck(inside, outside, width, groups, stride, norm))
                inside = outside
            self.add_module(f"layer{stage + 1}", layer)
        if classes is not None:
            self.fc = nn.Linear(inside, classes)

    def forward(
        self, x: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return (N, 256, H/4, W/4), (N, 512, ...), (N, 1024, ...), (N, 2048, H/32, W/32)."""
        x = functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        one = self.layer1(x)
        two = self.layer2(one)
        three = self.layer3(two)
        return one, two, three, self.layer4(three)


def resnet50(*, norm: Norm = nn.BatchNorm2d, classes: int | None = None) -> ResNet:
    """Return a ResNet-50; see `ResNet`."""
    return ResNet(norm=norm, classes=classes)


def resnext50(*, norm: Norm = nn.BatchNorm2d, classes: int | None = None) -> ResNet:
    """Return a ResNeXt-50 with 32 groups of 4 channels; see `ResNet`."""
    return ResNet(32, 4, norm=norm, classes=classes)
