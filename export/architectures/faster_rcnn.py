"""Faster R-CNN with ResNet-50 and feature pyramid, the cell detector of Eckardt 2022.

Eckardt 2022, BMC Cancer, "Pre-processing and cell segmentation": a "Faster Region-based
Convolutional Neural Net" on images of 2560 x 1920 px. Ren et al. 2015; pyramid: Lin et al. 2017.
The paper does not state the trunk or the input size: ResNet-50 with pyramid, laid out
as torchvision's `fasterrcnn_resnet50_fpn`, the common choice, and 768 x 1024 px, the frame scaled
by 0.4, both sides multiples of 32 so that each level has exactly half the side of the previous one.

One checkpoint, two exported parts: one for the frame and one for each region. Anchors, decoding,
suppression and RoIAlign lie between them and run on the host.

Keys: backbone.body.*, backbone.fpn.inner_blocks.N.0, backbone.fpn.layer_blocks.N.0,
rpn.head.conv.0.0, rpn.head.cls_logits, rpn.head.bbox_pred, roi_heads.box_head.fc6 and .fc7,
roi_heads.box_predictor.cls_score and .bbox_pred. `current_names` maps those of torchvision before
0.13. Fed RGB with the mean (0.485, 0.456, 0.406) and standard deviation (0.229, 0.224, 0.225) of
[0, 1] taken out.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from edgeapl.export.architectures.blocks import FrozenBatchNorm2d, Norm
from edgeapl.export.architectures.resnet import STAGE_CHANNELS, resnet50

HEIGHT, WIDTH = 768, 1024
CHANNELS = 256
"""Of every level of the pyramid (Lin et al. 2017)."""

ANCHORS = 3
"""Per position: aspect ratios 0.5, 1 and 2."""

ROI_SIDE = 7
LEVELS = 5
DETECTOR_OUTPUTS = (
    *(f"objectness_{level}" for level in range(LEVELS)),
    *(f"deltas_{level}" for level in range(LEVELS)),
    *(f"features_{level}" for level in range(LEVELS - 1)),
)
BOX_HEAD_OUTPUTS = ("class_logits", "box_deltas")
_OLD_NAME = re.compile(r"(fpn\.(?:inner|layer)_blocks\.\d+|rpn\.head\.conv)\.(weight|bias)$")


class FeaturePyramid(nn.Module):
    """Maps the trunk's four stages to four maps of 256 channels."""

    def __init__(self) -> None:
        super().__init__()
        # Sequences of one layer, because the keys have that level.
        self.inner_blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inside, CHANNELS, 1)) for inside in STAGE_CHANNELS
        )
        self.layer_blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)) for _ in STAGE_CHANNELS
        )

    def forward(self, stages: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """(N, C, h, w) each to (N, 256, h, w), finest first."""
        inner = [block(x) for block, x in zip(self.inner_blocks, stages, strict=True)]
        for level in range(len(inner) - 2, -1, -1):
            above = functional.interpolate(inner[level + 1], scale_factor=2.0, mode="nearest")
            inner[level] = inner[level] + above
        return tuple(block(x) for block, x in zip(self.layer_blocks, inner, strict=True))


class Backbone(nn.Module):
    """Trunk and pyramid."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.body = resnet50(norm=norm)
        self.fpn = FeaturePyramid()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, 3, H, W) to four maps at strides 4, 8, 16 and 32."""
        maps: tuple[torch.Tensor, ...] = self.fpn(self.body(x))
        return maps


class RpnHead(nn.Module):
    """Where a cell may be: the same three convolutions on every level."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)))
        self.cls_logits = nn.Conv2d(CHANNELS, ANCHORS, 1)
        self.bbox_pred = nn.Conv2d(CHANNELS, 4 * ANCHORS, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 256, h, w) to objectness logits (N, 3, h, w) and deltas (N, 12, h, w)."""
        x = torch.relu(self.conv(x))
        return self.cls_logits(x), self.bbox_pred(x)


class BoxLayers(nn.Module):
    """The two fully connected layers of a region."""

    def __init__(self) -> None:
        super().__init__()
        self.fc6 = nn.Linear(CHANNELS * ROI_SIDE**2, 1024)
        self.fc7 = nn.Linear(1024, 1024)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 256, 7, 7) to (N, 1024)."""
        return torch.relu(self.fc7(torch.relu(self.fc6(x.flatten(1)))))


class BoxPredictor(nn.Module):
    """The class of a region, and its box."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(1024, classes)
        self.bbox_pred = nn.Linear(1024, 4 * classes)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 1024) to logits (N, classes) and deltas (N, 4 * classes)."""
        return self.cls_score(x), self.bbox_pred(x)


class FasterRcnnNetworks(nn.Module):
    """All weights of the detector, under the keys of its checkpoint. Has no forward.

    Parameters
    ----------
    classes : including the background, which is class 0.
    frozen_eps : of the trunk's batch norms, which is not in a checkpoint. torchvision has
        1e-5, but 0.0 in the model it makes from its own COCO weights: a detector fine-tuned from
        those needs 0.0.
    """

    def __init__(self, classes: int = 2, *, frozen_eps: float = 1e-5) -> None:
        super().__init__()
        self.backbone = Backbone(functools.partial(FrozenBatchNorm2d, eps=frozen_eps))
        self.rpn = nn.ModuleDict({"head": RpnHead()})
        self.roi_heads = nn.ModuleDict(
            {"box_head": BoxLayers(), "box_predictor": BoxPredictor(classes)}
        )

    def detector(self) -> Detector:
        """Return the part for a frame, sharing these weights."""
        return Detector(self.backbone, self.rpn["head"])

    def box_head(self) -> BoxHead:
        """Return the part for regions, sharing these weights."""
        return BoxHead(self.roi_heads["box_head"], self.roi_heads["box_predictor"])


class Detector(nn.Module):
    """Float32 (1, 3, H, W), H and W multiples of 32, to `DETECTOR_OUTPUTS`.

    Objectness (1, 3, h, w) and deltas (1, 12, h, w) at strides 4, 8, 16, 32 and 64, anchor-major
    (channel 4 * anchor + coordinate), and features (1, 256, h, w) at strides 4 to 32. At stride 64
    h and w are rounded up.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return fourteen maps."""
        features = self.backbone(x)
        # The fifth level is every second position of the fourth, for proposals only.
        levels = (*features, functional.max_pool2d(features[-1], 1, 2))
        answers = [self.head(level) for level in levels]
        return (*(a[0] for a in answers), *(a[1] for a in answers), *features)


class BoxHead(nn.Module):
    """Float32 (N, 256, 7, 7), one row per region, to `BOX_HEAD_OUTPUTS`."""

    def __init__(self, layers: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.layers = layers
        self.predictor = predictor

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return class logits (N, classes) and box deltas (N, 4 * classes)."""
        logits, deltas = self.predictor(self.layers(x))
        return logits, deltas


def current_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a checkpoint's tensors under today's names; current names stay as they are.

    Two things differ in older or otherwise trained checkpoints: torchvision before 0.13 had one
    level less in the pyramid and the RPN, and a trunk trained without freezing has counters
    (`num_batches_tracked`) in its batch norms, which have no use outside training and are
    dropped.
    """
    return {
        _OLD_NAME.sub(_new_name, name): tensor
        for name, tensor in tensors.items()
        if not name.endswith(".num_batches_tracked")
    }


def _new_name(match: re.Match[str]) -> str:
    layer, kind = match.groups()
    return f"{layer}{'.0.0' if layer == 'rpn.head.conv' else '.0'}.{kind}"
