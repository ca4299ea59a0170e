"""Progressive multi-granularity network on ResNeXt-50, the cell networks of Yan 2025.

Yan 2025, "Deep learning model and training" and Fig. 2: ResNeXt-50 with PMG after Du et al. 2020
(ECCV, "Fine-grained visual classification via progressive multi-granularity training of jigsaw
patches"), "the conv block represents the combination of two convolutional layers with a max
pooling layer, and the classifier represents two fully connected layers". Du 2020, section 3 and
4.1: the last three stages, 448 x 448 px, classifiers of 512 units with batch norms and ELU, and
at the end the sum of all four predictions ("multi-output").

Yan 2025 does not state the input size (its cells are 250 px) or which prediction counts: Du's
448 px and Du's sum, softmax after the sum.

Keys: as in the public code of Du et al. (features.*, conv_block1 ... 3, classifier1 ... 3,
classifier_concat). `features` there keeps its unused `fc` of 1,000 classes, so a checkpoint
has it; `trunk_classes=None` omits it. That code is fed RGB in [-1, 1].

The map is Grad-CAM (Selvaraju et al. 2017) of the winning class over the last stage's
convolution block A, float32 (N, 1024, 14, 14). With v_k = max A_k its weight is the mean over the
positions of d logit / d A_k. The maximum passes its gradient to one position, so that mean is
(d logit / d v_k) / (14 * 14), wherever the maximum lies and also for ties. v reaches the summed
logit through classifier3 and the concatenation, each batch norm, linear, batch norm, ELU, linear:
its gradient is the row of the last layer for the class, times the slope of the ELU, times the
first linear layer, times the scales of the batch norms. That is exact, no approximation, and
needs no autograd, so the station can run it.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgeapl.export.architectures.resnet import STAGE_CHANNELS, resnext50

SIDE = 448
WIDTH = 1024
"""Channels of each granularity (half of the last stage, Du 2020)."""

HIDDEN = 512
GRANULARITIES = 3


class ConvBlock(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, inside: int, outside: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outside, momentum=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inside, H, W) to (N, outside, H, W), 0 or more."""
        return torch.relu(self.bn(self.conv(x)))


class Classifier(nn.Sequential):
    """Float32 (N, inside) to logits (N, classes): two linear layers, batch norms, ELU."""

    def __init__(self, inside: int, hidden: int, classes: int) -> None:
        super().__init__(
            nn.BatchNorm1d(inside),
            nn.Linear(inside, hidden),
            nn.BatchNorm1d(hidden),
            nn.ELU(),
            nn.Linear(hidden, classes),
        )

    def gradient(self, x: torch.Tensor, winner: torch.Tensor) -> torch.Tensor:
        """Return d logit[winner] / d x in evaluation mode, float32 (N, inside).

        Parameters
        ----------
        x : float32 (N, inside).
        winner : int64 (N,), a class per row.
        """
        first_norm, first, second_norm, activation, last = self
        active = activation(second_norm(first(first_norm(x))))
        # ELU is exp(z) - 1 below 0, with slope exp(z), and z above, with slope 1.
        slope = 1.0 + active.clamp(max=0.0)
        back = last.weight.index_select(0, winner) * slope * _scale(second_norm)
        return functional.linear(back, first.weight.t()) * _scale(first_norm)


def _scale(norm: nn.Module) -> torch.Tensor:
    """Return the slope of a batch norm in evaluation mode, one number per channel."""
    scale: torch.Tensor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale


class Pmg(nn.Module):
    """Float32 (N, 3, 448, 448) to the summed logits (N, classes).

    Parameters
    ----------
    classes : number of classes.
    hidden : width between the layers of blocks and classifiers.
    trunk_classes : outputs of the trunk's unused classifier, None for a checkpoint without it.
    """

    def __init__(
        self, classes: int, *, hidden: int = HIDDEN, trunk_classes: int | None = 1000
    ) -> None:
        super().__init__()
        self.features = resnext50(classes=trunk_classes)
        for number, inside in enumerate(STAGE_CHANNELS[-GRANULARITIES:], start=1):
            block = nn.Sequential(ConvBlock(inside, hidden, 1), ConvBlock(hidden, WIDTH, 3))
            self.add_module(f"conv_block{number}", block)
            self.add_module(f"classifier{number}", Classifier(WIDTH, hidden, classes))
        self.classifier_concat = Classifier(GRANULARITIES * WIDTH, hidden, classes)

    def maps(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the blocks' maps (N, 1024, h, w), h = 56, 28 and 14."""
        _, two, three, four = self.features(x)
        return self.conv_block1(two), self.conv_block2(three), self.conv_block3(four)

    def granularities(
        self, pooled: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the four logits (N, classes) from three pooled vectors (N, 1024)."""
        one, two, three = pooled
        return (
            self.classifier1(one),
            self.classifier2(two),
            self.classifier3(three),
            self.classifier_concat(torch.cat(pooled, 1)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum of the four logits."""
        one, two, three, together = self.granularities(pool(self.maps(x)))
        return one + two + three + together


class PmgWithMap(nn.Module):
    """The same logits, and the Grad-CAM map float32 (N, h, w), h = w = 14 for 448 px.

    The map is 0 or more and has no unit: only its shape means something. It belongs to the class
    with the largest summed logit.
    """

    def __init__(self, pmg: Pmg) -> None:
        super().__init__()
        self.pmg = pmg

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N, classes) and the map."""
        maps = self.pmg.maps(x)
        pooled = pool(maps)
        one, two, three, together = self.pmg.granularities(pooled)
        logits = one + two + three + together
        winner = logits.argmax(1)
        concat = self.pmg.classifier_concat.gradient(torch.cat(pooled, 1), winner)
        last = self.pmg.classifier3.gradient(pooled[-1], winner) + concat[:, -WIDTH:]
        weights = last / (maps[-1].shape[2] * maps[-1].shape[3])
        return logits, torch.relu((maps[-1] * weights[:, :, None, None]).sum(1))


def pool(maps: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Take the maximum over each map: (N, C, h, w) to (N, C)."""
    return tuple(one.amax((2, 3)) for one in maps)
