"""Compares the cells that two detectors find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Detections, Float32

SAME_CELL = 0.5
"""Overlap (intersection over union) from which two boxes count as one cell, as in Everingham et al.
2010 (PASCAL VOC)."""


@dataclass(frozen=True, slots=True)
class Detected:
    """Cells found on all frames.

    reference : by the FP32 networks. lost : of these, not found by the candidate. extra : found
        only
    by the candidate.
    """

    frames: int
    reference: int
    lost: int
    extra: int

    @property
    def share_apart(self) -> float:
        """Cells that only one of them finds, relative to those that the FP32 networks find."""
        return (self.lost + self.extra) / max(1, self.reference)


def compare_detected(frames: Sequence[tuple[Detections, Detections]]) -> Detected:
    """Match the cells of each frame, largest overlaps first.

    Parameters
    ----------
    frames : detections of the FP32 networks and of the candidate, per frame.
    """
    matched = [_matched(before.boxes, after.boxes) for before, after in frames]
    reference = sum(len(before) for before, _ in frames)
    found = sum(len(after) for _, after in frames)
    same = sum(matched)
    return Detected(len(frames), reference, reference - same, found - same)


def _matched(one: Float32, other: Float32) -> int:
    overlaps = _overlaps(one, other)
    count = 0
    while overlaps.size and overlaps.max() >= SAME_CELL:
        row, column = np.unravel_index(overlaps.argmax(), overlaps.shape)
        overlaps[row, :] = overlaps[:, column] = 0.0
        count += 1
    return count


def _overlaps(one: Float32, other: Float32) -> NDArray[np.float64]:
    """Return intersection over union of every pair of boxes, (N, M)."""
    first = np.asarray(one, dtype=np.float64)[:, None]
    second = np.asarray(other, dtype=np.float64)[None]
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    areas = (first[..., 2:] - first[..., :2]).prod(-1) + (second[..., 2:] - second[..., :2]).prod(
        -1
    )
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))
