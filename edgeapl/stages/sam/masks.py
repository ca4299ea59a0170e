"""From the logits of a mask to its outline on the frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.sam.networks import ANSWERED
from edgeapl.types import Float32

Bool = NDArray[np.bool_]

STABLE_BY = 1.0
"""A mask is stable when it is nearly the same for logits above and below 0 by so much."""


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A mask on a frame.

    left, top : of the window that it lies in, px. inside : bool (h, w), its pixels; the window is
    as narrow as they let it be. predicted_iou : what the network thinks of it.
    """

    left: int
    top: int
    inside: Bool
    predicted_iou: float

    @property
    def window(self) -> tuple[slice, slice]:
        """Its rows and columns in the frame."""
        height, width = self.inside.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0 y0 x1 y1 px, half-open."""
        height, width = self.inside.shape
        return self.left, self.top, self.left + width, self.top + height


def stability(logits: Float32) -> float:
    """Return how alike a mask is for a higher and a lower threshold: their overlap, 0 to 1."""
    low = int(np.count_nonzero(logits > -STABLE_BY))
    return int(np.count_nonzero(logits > STABLE_BY)) / low if low else 0.0


def part_of_frame(logits: Float32, scale: float, height: int, width: int) -> Float32:
    """Leave out what lies to the right of the frame or below it.

    Parameters
    ----------
    logits : float32 (..., rows, columns). scale : input px per frame px. height, width : of the
        frame, px.
    """
    rows = int(np.ceil(height * scale / ANSWERED))
    columns = int(np.ceil(width * scale / ANSWERED))
    return logits[..., :rows, :columns]


def outline(
    logits: Float32, scale: float, height: int, width: int, predicted_iou: float
) -> Mask | None:
    """Bring a mask to the frame: logits are interpolated, the largest component is kept and filled.

    Parameters
    ----------
    logits : float32 (rows, columns), of `part_of_frame`. The others as there.

    None when nothing of it lies on the frame.
    """
    rows, columns = (np.flatnonzero((logits > 0).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    step = scale / ANSWERED
    # One position more on each side: between two of them the logit may still be above 0.
    top, bottom = _between(rows, step, height)
    left, right = _between(columns, step, width)
    move = np.array(
        [[step, 0, (left + 0.5) * step - 0.5], [0, step, (top + 0.5) * step - 0.5]], np.float64
    )
    fine = cv2.warpAffine(
        np.ascontiguousarray(logits),
        move,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return _narrow(_largest_component(np.asarray(fine > 0)), left, top, predicted_iou)


def _between(positions: NDArray[np.int64], step: float, size: int) -> tuple[int, int]:
    """Return the first and last px + 1 of the frame that positions of the mask can reach."""
    first = int(np.floor((positions[0] - 0.5) / step))
    last = int(np.ceil((positions[-1] + 1.5) / step))
    return max(0, min(first, size - 1)), max(1, min(last, size))


def _largest_component(inside: Bool) -> Bool:
    """Keep the largest component, without the holes in it: a cell is one component."""
    count, components, figures, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8))
    if count == 1:
        return inside
    largest = 1 + int(figures[1:, cv2.CC_STAT_AREA].argmax())
    outside = np.pad((components != largest).astype(np.uint8), 1, constant_values=1)
    count, grounds = cv2.connectedComponents(outside, connectivity=4)
    return np.asarray(grounds[1:-1, 1:-1] != grounds[0, 0])


def _narrow(inside: Bool, left: int, top: int, predicted_iou: float) -> Mask | None:
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    kept = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Mask(left + int(columns[0]), top + int(rows[0]), kept, predicted_iou)
