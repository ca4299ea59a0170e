"""RoIAlign through which a detector learns; `edgeapl.stages.detect.roi_align` is the station's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from edgeapl.stages.detect.roi_align import SAMPLES, SIDE, levels_of
from edgeapl.types import Float32


def align(maps: Sequence[torch.Tensor], boxes: Float32, height: int) -> torch.Tensor:
    """Return the features of every region, float32 (N, C, 7, 7), as the station's `align` does.

    Parameters
    ----------
    maps : float32 (1, C, h, w) per level, finest first. boxes : float32 (N, 4) px of the input.
    height : of the input, px.
    """
    levels = levels_of(boxes)
    found = torch.zeros((len(boxes), maps[0].shape[1], SIDE, SIDE), device=maps[0].device)
    for level, given in enumerate(maps):
        rows = np.flatnonzero(levels == level)
        if len(rows):
            scale = 2.0 ** round(np.log2(given.shape[2] / height))
            some = torch.from_numpy(boxes[rows] * np.float32(scale)).to(given.device)
            at = torch.from_numpy(rows).to(given.device)
            found = found.index_copy(0, at, _level(given.float(), some))
    return found


def _level(given: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    rows, columns = given.shape[2:]
    y, inside_y = _points(boxes[:, 1], boxes[:, 3], rows)
    x, inside_x = _points(boxes[:, 0], boxes[:, 2], columns)
    count, points = y.shape
    grid = torch.stack(
        (x[:, None].expand(-1, points, -1), y[:, :, None].expand(-1, -1, points)), -1
    )
    read = functional.grid_sample(
        given, grid.reshape(1, count * points, points, 2), padding_mode="border", align_corners=True
    )
    read = read[0].reshape(-1, count, points, points).transpose(0, 1)
    inside = inside_y[:, None, :, None] & inside_x[:, None, None, :]
    return functional.avg_pool2d(read * inside, SAMPLES)


def _points(low: torch.Tensor, high: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where the points of regions lie along one side, -1 to 1, and which are inside."""
    bins = (high - low).clamp(min=1) / SIDE
    steps = (torch.arange(SIDE * SAMPLES, device=low.device) + 0.5) / SAMPLES
    points = low[:, None] + bins[:, None] * steps
    inside = (points >= -1) & (points <= size)
    return 2 * points.clamp(0, size - 1) / max(1, size - 1) - 1, inside
