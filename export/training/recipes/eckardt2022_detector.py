"""The detector of `eckardt2022`: Faster R-CNN, from boxes that people drew.

Eckardt et al. 2022, BMC Cancer, "Pre-processing and cell segmentation": "cell borders were
initially drawn by hematologists, then, the FRCNN learned by example". Boxes of COCO JSON, Pascal
VOC or `edgeapl cohorts`; what is corrected at a station comes as COCO from `export-labels`.

The paper states no numbers: losses, examples and matching are those of Ren et al. 2015 as
torchvision computes them; stochastic gradient descent with 0.005, momentum 0.9 and decay 0.0001,
26 epochs along a cosine, 2 frames a step, gradients of norm 10 at most; mirrored both ways, hue by
0.02 of the circle, light by 0.15. It starts from what ``--init`` gives (torchvision's names fit:
ResNet-50 of ImageNet, or a detector of COCO); the trunk's batch norms stay as they are there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from edgeapl.errors import UsageError
from edgeapl.export.architectures.faster_rcnn import FasterRcnnNetworks
from edgeapl.export.architectures.initialise import initialise
from edgeapl.export.recipes.eckardt2022 import FRAME_HEIGHT, FRAME_WIDTH
from edgeapl.export.recipes.recipe import IMAGENET
from edgeapl.export.training.augmentation import Augmentation
from edgeapl.export.training.detector_objective import DetectorObjective
from edgeapl.export.training.device import Device
from edgeapl.export.training.frame_pool import FramePool
from edgeapl.export.training.settings import Rate, Settings
from edgeapl.types import Int64

PART = "detector"
STRIDE = 32
COLOURS = Augmentation(turn=False, mirror=False, hue=0.02, light=0.15)
"""Frames are mirrored with their boxes, by the objective."""


@dataclass(frozen=True, slots=True)
class DetectorRecipe:
    """How the detector is trained. height, width : of the frames that it is shown, px."""

    settings: Settings
    height: int = FRAME_HEIGHT
    width: int = FRAME_WIDTH
    augmentation: Augmentation = COLOURS
    name: str = "eckardt2022-detector"
    source: str = "Eckardt et al. 2022, BMC Cancer 22:201, doi 10.1186/s12885-022-09307-8"

    def build(self) -> nn.Module:
        """Return the networks, drawn from the seed that torch was given last."""
        module = FasterRcnnNetworks()
        initialise(module, torch.initial_seed())
        return module

    def objective(self, pool: FramePool, rows: Int64, device: Device) -> DetectorObjective:
        """Return what is asked in training of these rows."""
        batch = self.settings.batch
        return DetectorObjective(pool, rows, *IMAGENET, self.augmentation, batch, device)


def recipe(size: int | None = None) -> DetectorRecipe:
    """Return the recipe. size : height of a frame, px; its width is a third more.

    Raises UsageError when the pyramid has no such size.
    """
    settings = Settings(
        epochs=26,
        rate=Rate(0.005, "cosine"),
        optimiser="sgd",
        weight_decay=0.0001,
        clip=10.0,
        batch=2,
    )
    height = FRAME_HEIGHT if size is None else size
    if height % (3 * STRIDE) or not 3 * STRIDE <= height <= 4 * FRAME_HEIGHT:
        mend = f"give a multiple of {3 * STRIDE} up to {4 * FRAME_HEIGHT}"
        raise UsageError("size of a frame", f"{height} px", mend)
    return DetectorRecipe(settings, height, height // 3 * 4)
