"""Learning where cells are: the four losses of Faster R-CNN (Ren et al. 2015, section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgeapl.export.architectures.faster_rcnn import DETECTOR_OUTPUTS
from edgeapl.export.training.augmentation import Augmentation
from edgeapl.export.training.box_targets import (
    ANCHORS,
    REGIONS,
    deltas_to,
    matched,
    sampled,
)
from edgeapl.export.training.device import Device
from edgeapl.export.training.frame_pool import FramePool
from edgeapl.export.training.objective import Part, Predictions
from edgeapl.export.training.region_features import align
from edgeapl.stages.detect.anchors import SIZES, anchors
from edgeapl.stages.detect.detector import DIVISORS, LEVELS
from edgeapl.stages.detect.proposals import proposals
from edgeapl.types import Float32, Int64

SMOOTH = 1 / 9
"""Distance up to which the loss of a box is a square (torchvision)."""

CLASSES = ("nothing", "cell")


@dataclass(frozen=True, slots=True, eq=False)
class DetectorObjective:
    """Losses of proposals and of regions, each of what they show and of where it is.

    pool : frames and their boxes. train : int64 (K,), rows that are learned from.
    mean, deviation : of colours 0 to 1, taken out. batch : frames in a step.
    """

    pool: FramePool
    train: Int64
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    augmentation: Augmentation
    batch: int
    device: Device

    def batches(self, random: np.random.Generator) -> Sequence[Int64]:
        """Return every frame once an epoch, in a new order."""
        rows = self.train[random.permutation(len(self.train))]
        return [rows[start : start + self.batch] for start in range(0, len(rows), self.batch)]

    def parts(self, module: nn.Module, batch: Any, random: torch.Generator) -> Iterator[Part]:
        """Yield one part: the mean loss of these frames."""
        losses, truth, said = [], [], []
        for row in batch.tolist():
            frame, drawn = self.augmented(row, random)
            loss, own, probabilities = self._judged(module, frame, drawn, random)
            losses.append(loss)
            truth += own
            said.append(probabilities)
        yield Part(torch.stack(losses).mean(), truth, np.concatenate(said))

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def predict(self, module: nn.Module, rows: Int64) -> Predictions:
        """Judge the regions of these frames that would be learned from: cell or nothing.

        The drawn boxes are among them, so this says how training goes on, and not how well cells
        are found: `edgeapl evaluate --boxes` does.
        """
        truth: list[int] = []
        said: list[Float32] = []
        names: list[str] = []
        for row in rows.tolist():
            random = torch.Generator().manual_seed(row)
            _, own, probabilities = self._judged(
                module, self._read(row), self.pool.boxes[row], random
            )
            truth += own
            said.append(probabilities)
            names += [f"{self.pool.files[row]} {number}" for number in range(len(own))]
        return Predictions(
            classes=CLASSES,
            names=tuple(names),
            patients=tuple(names),
            truth=np.array(truth, dtype=np.int64),
            probabilities=np.concatenate(said),
            cells=np.empty(0, dtype=np.int64),
            features=np.empty((0, 0), dtype=np.float32),
            cell_scores=np.empty((0, 2), dtype=np.float32),
        )

    def _judged(
        self, module: nn.Module, frame: torch.Tensor, drawn: Float32, random: torch.Generator
    ) -> tuple[torch.Tensor, list[int], Float32]:
        """Return the loss of a frame, and of its sampled regions truth and probabilities (N, 2)."""
        height, width = frame.shape[2:]
        with self.device.autocast():
            answers = module.detector()(frame)
        maps = {name: a.float() for name, a in zip(DETECTOR_OUTPUTS, answers, strict=True)}
        loss = _proposal_loss(maps, drawn, height, width, random)
        found = {name: one.detach().cpu().numpy() for name, one in maps.items()}
        # The drawn boxes too, as no proposal is near one at first.
        regions = np.concatenate([proposals(found, height, width), drawn])
        match = matched(regions, drawn, REGIONS)
        cells, nothing = sampled(match, REGIONS, random)
        rows = np.concatenate([cells, nothing])
        pyramid = [maps[f"features_{level}"] for level in range(LEVELS)]
        with self.device.autocast():
            logits, deltas = module.box_head()(align(pyramid, regions[rows], height))
        truth = torch.from_numpy((match[rows] >= 0).astype(np.int64)).to(logits.device)
        loss = loss + functional.cross_entropy(logits.float(), truth)
        if len(cells):
            wanted = deltas_to(regions[cells], drawn[match[cells]], DIVISORS)
            given = deltas.float().view(len(rows), -1, 4)[: len(cells), 1]
            loss = loss + _distance(given, wanted) / len(rows)
        probabilities = logits.detach().float().softmax(-1).cpu().numpy()
        return loss, truth.tolist(), probabilities

    def augmented(self, row: int, random: torch.Generator) -> tuple[torch.Tensor, Float32]:
        """Return a frame, mirrored and coloured at random, and its boxes."""
        frame = self.augmentation(self._pixels(row), random)
        boxes = self.pool.boxes[row].copy()
        for axis, side in ((0, frame.shape[3]), (1, frame.shape[2])):
            if torch.rand(1, generator=random) < 0.5:
                frame = frame.flip(3 - axis)
                boxes[:, [axis, axis + 2]] = side - boxes[:, [axis + 2, axis]]
        return self._normalised(frame), boxes

    def _read(self, row: int) -> torch.Tensor:
        return self._normalised(self._pixels(row))

    def _pixels(self, row: int) -> torch.Tensor:
        pixels = torch.from_numpy(self.pool.pixels[row]).to(self.device.kind)
        return pixels.permute(2, 0, 1)[None].float().div(255)

    def _normalised(self, x: torch.Tensor) -> torch.Tensor:
        mean, deviation = (
            torch.tensor(values, device=x.device).view(1, 3, 1, 1)
            for values in (self.mean, self.deviation)
        )
        return ((x - mean) / deviation).contiguous(memory_format=torch.channels_last)


def _proposal_loss(
    maps: dict[str, torch.Tensor], drawn: Float32, height: int, width: int, random: torch.Generator
) -> torch.Tensor:
    starts, logits, deltas = [], [], []
    for level in range(len(SIZES)):
        objectness = maps[f"objectness_{level}"][0]
        count, rows, columns = objectness.shape
        starts.append(anchors(level, rows, columns, height, width))
        logits.append(objectness.permute(1, 2, 0).reshape(-1))
        moves = maps[f"deltas_{level}"][0].view(count, 4, rows, columns)
        deltas.append(moves.permute(2, 3, 0, 1).reshape(-1, 4))
    boxes = np.concatenate(starts)
    match = matched(boxes, drawn, ANCHORS)
    cells, nothing = sampled(match, ANCHORS, random)
    rows = torch.from_numpy(np.concatenate([cells, nothing])).to(logits[0].device)
    wanted = torch.zeros(len(rows), device=rows.device)
    wanted[: len(cells)] = 1
    loss = functional.binary_cross_entropy_with_logits(torch.cat(logits)[rows], wanted)
    if len(cells):
        given = torch.cat(deltas)[rows[: len(cells)]]
        loss = loss + _distance(given, deltas_to(boxes[cells], drawn[match[cells]])) / len(rows)
    return loss


def _distance(given: torch.Tensor, wanted: Float32) -> torch.Tensor:
    goal = torch.from_numpy(wanted).to(given.device)
    return functional.smooth_l1_loss(given, goal, beta=SMOOTH, reduction="sum")
