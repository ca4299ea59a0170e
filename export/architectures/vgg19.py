"""MILLIE (Manescu 2023): VGG-19 as encoder of a cell, and the head of a bag of cells.

Manescu 2023, Scientific Reports, "Network architecture and training details": "the convolutional
feature vectors corresponding to each cropped image (F = conv(O)) ... were pooled into a single
feature vector followed by two fully connected layers and a classification layer"; eq. 2 takes the
maximum of each feature over the bag; for a single cell f_fusion(F) = F, with the same weights.
VGG-19: Simonyan & Zisserman 2015, Table 1, configuration E.

D, the length of F, is not printed. Eq. 1 feeds the maximum of the convolutions' output directly
into the first fully connected layer and names no other pooling, and the same group's public
code for such bags (UCL/FASt-MAL-MOFF) flattens the last pooled map. So F is that map flattened,
channel first: 512 x 6 x 6 = 18,432 for 200 x 200 px. The hidden layers of that code have 1,024
and 512 units, the defaults here, and it scales crops of 200 px to 128 px (D = 8,192); the paper
does not. `side` is the one that a checkpoint was trained with.

The classes differ between its APL experiments: APL against everything else in blood (Fig. 3), APL
against AML in blood (Fig. 4, the default here), healthy, AML and APL in bone marrow (Fig. 5).

Keys: `features.N` as in torchvision's VGG-19; the fully connected layers are `classifier.0`, `.3`
and `.6` as there. ImageNet weights of this layout are fed RGB with the mean (0.485, 0.456, 0.406)
and standard deviation (0.229, 0.224, 0.225) of [0, 1] taken out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

SIDE = 200
"""Side of a tile, px (12.8 µm)."""

CONFIGURATION_E = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))
"""Convolutions and channels of each stage; a 2 x 2 max pool ends it."""

CLASSES = ("AML", "APL")


def feature_length(side: int) -> int:
    """Return D of the encoder for tiles of `side` px: each of five stages halves, rounding down."""
    left = side // (1 << len(CONFIGURATION_E))
    return CONFIGURATION_E[-1][1] * left * left


class MillieEncoder(nn.Module):
    """Float32 (N, 3, side, side) to features (N, D), all 0 or more."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inside = 3
        for convolutions, outside in CONFIGURATION_E:
            for _ in range(convolutions):
                layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(inplace=True)]
                inside = outside
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one row of features per cell."""
        return self.features(x).flatten(1)


class MillieHead(nn.Module):
    """Float32 (N, D), each row the maxima of a bag or one cell, to logits (N, classes).

    Parameters
    ----------
    side : px of the tiles; gives D.
    hidden : widths of the two fully connected layers.
    classes : number of classes.
    dropout : rate after each hidden layer, in training; the authors' code has 0.5.
    """

    def __init__(
        self,
        side: int = SIDE,
        hidden: Sequence[int] = (1024, 512),
        classes: int = len(CLASSES),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        first, second = hidden
        self.classifier = nn.Sequential(
            nn.Linear(feature_length(side), first),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(first, second),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(second, classes),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits; softmax turns them into the probabilities of eq. 1."""
        return self.classifier(features)


class Millie(nn.Module):
    """Encoder and head in one checkpoint: keys `features.N` and `classifier.N`.

    `encoder` and `head` share their weights with it and are what is exported.
    """

    def __init__(
        self,
        side: int = SIDE,
        hidden: Sequence[int] = (1024, 512),
        classes: int = len(CLASSES),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.features = MillieEncoder().features
        self.classifier = MillieHead(side, hidden, classes, dropout).classifier

    def forward(self, bag: torch.Tensor) -> torch.Tensor:
        """All cells of one slide, float32 (N, 3, side, side), to the slide's logits (classes,)."""
        return self.judge(self.encode(bag))

    def encode(self, cells: torch.Tensor) -> torch.Tensor:
        """Float32 (N, 3, side, side) to features (N, D), one row per cell."""
        return self.features(cells).flatten(1)

    def judge(self, features: torch.Tensor) -> torch.Tensor:
        """Features of bags (..., N, D) to logits (..., classes)."""
        return self.classifier(features.amax(-2))

    def name_cells(self, features: torch.Tensor) -> None:
        """Return nothing: it learns from slides alone."""

    def encoder(self) -> MillieEncoder:
        """Return the encoder, sharing this module's weights."""
        with torch.device("meta"):
            part = MillieEncoder()
        part.features = self.features
        return part

    def head(self) -> MillieHead:
        """Return the head, sharing this module's weights."""
        with torch.device("meta"):
            part = MillieHead()
        part.classifier = self.classifier
        return part
