"""Cut the features of regions out of a pyramid (He et al. 2017, section 3, RoIAlign)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Float32

SIDE = 7
"""Bins of a region per side, as the box head takes them (Lin et al. 2017, section 4.2)."""

SAMPLES = 2
"""Points per bin and side (He et al. 2017: four per bin)."""

CANONICAL_PX, CANONICAL_LEVEL = 224, 4
"""A region of ImageNet's size is read from level 4 (Lin et al. 2017, eq. 1)."""

FINEST, COARSEST = 2, 5


def levels_of(boxes: Float32) -> NDArray[np.int64]:
    """Return the map that each region is read from, 0 for the finest (Lin et al. 2017, eq. 1)."""
    sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    with np.errstate(divide="ignore"):
        levels = np.floor(CANONICAL_LEVEL + np.log2(sides / CANONICAL_PX) + 1e-6)
    return np.asarray(np.clip(levels, FINEST, COARSEST) - FINEST, dtype=np.int64)


def align(maps: Sequence[Float32], boxes: Float32, height: int) -> Float32:
    """Return the features of every region.

    Parameters
    ----------
    maps : float32 (1, C, h, w) per level, finest first. boxes : float32 (N, 4) px of the input.
    height : of the input, px; sets the maps' scale.

    Returns
    -------
    float32 (N, C, 7, 7): each bin the mean of four points, linear between pixels, as with
    torchvision's ``aligned=False``.
    """
    channels = maps[0].shape[1]
    features = np.empty((len(boxes), channels, SIDE, SIDE), dtype=np.float32)
    levels = levels_of(boxes)
    for level, given in enumerate(maps):
        rows = np.flatnonzero(levels == level)
        if len(rows):
            # Channels last, so that one point is one run of memory.
            pixels = np.ascontiguousarray(np.asarray(given[0], np.float32).transpose(1, 2, 0))
            scale = 2.0 ** round(np.log2(pixels.shape[0] / height))
            for row in rows.tolist():
                features[row] = _region(pixels, boxes[row] * np.float32(scale))
    return features


def _region(pixels: Float32, box: Float32) -> Float32:
    """Return (C, 7, 7) for one box in the map's own pixels.

    Points of a region form a grid, so that reading them is one product of matrices per side:
    first all rows at the points' heights, then all columns at their widths.
    """
    rows, columns, channels = pixels.shape
    down, top, bottom = _weights(float(box[1]), float(box[3]), rows)
    across, left, right = _weights(float(box[0]), float(box[2]), columns)
    part = pixels[top:bottom, left:right]
    lines = down @ part.reshape(len(part), -1)
    lines = lines.reshape(SIDE, right - left, channels)
    bins = np.einsum("bw,hwc->chb", across, lines, optimize=True)
    return np.asarray(bins, dtype=np.float32)


def _weights(low: float, high: float, size: int) -> tuple[Float32, int, int]:
    """Return the share of every pixel in every bin along one side.

    Returns float32 (7, last - first), and the first and last pixel that count.
    """
    bin_size = max(high - low, 1.0) / SIDE
    points = low + bin_size * (np.arange(SIDE * SAMPLES) + 0.5) / SAMPLES
    inside = (points >= -1) & (points <= size)
    at = np.clip(points, 0, size - 1)
    first = np.minimum(np.floor(at).astype(np.int64), size - 1)
    second = np.minimum(first + 1, size - 1)
    start, end = int(first.min()), int(second.max()) + 1
    weights = np.zeros((SIDE * SAMPLES, end - start), dtype=np.float32)
    row = np.arange(len(points))
    np.add.at(weights, (row, first - start), (1 - (at - first)) * inside)
    np.add.at(weights, (row, second - start), (at - first) * inside)
    return weights.reshape(SIDE, SAMPLES, -1).mean(axis=1), start, end
