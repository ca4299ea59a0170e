"""Which mask is the outline of which cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgeapl.bundle.specs import SamSpec
from edgeapl.stages.detect.boxes import thinned
from edgeapl.stages.sam.masks import Mask, outline, part_of_frame, stability
from edgeapl.stages.sam.networks import ANSWERED
from edgeapl.types import Detections, Float32, Int64, UInt16

DOUBTLESS = 0
"""The mask that is taken for a box."""

DOUBTFUL = (1, 2, 3)
"""Those that are taken for a point: whole, part, part of a part."""

ROOM = 1.5
"""A mask may be so much larger, counted before it is brought to the frame, than it ends up."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A mask that may be a cell's.

    cell : row of the detection. agreement : overlap (intersection over union) with its outline.
    """

    cell: int
    mask: Mask
    agreement: float


class Matcher:
    """Compares masks with the cells that the classical segmenter found.

    Parameters
    ----------
    found : those cells. scale : input px per frame px. spec : limits.
    """

    def __init__(self, found: Detections, scale: float, spec: SamSpec) -> None:
        self._found = found
        self._scale = scale
        self._spec = spec
        self._areas = np.bincount(found.labels.ravel(), minlength=len(found) + 1)

    def of_boxes(self, first: int, logits: Float32, quality: Float32) -> Iterator[Fit]:
        """Fit masks of boxes, each to the cell whose box was asked about.

        Parameters
        ----------
        first : row of the first cell. logits, quality : of `edgeapl.stages.sam.networks.answers`.
        """
        for row, (masks, predicted) in enumerate(zip(logits, quality, strict=True)):
            mask = self._usable(masks[DOUBTLESS], float(predicted[DOUBTLESS]))
            if mask is not None:
                yield from self._fits(mask, [first + row + 1])

    def of_points(self, logits: Float32, quality: Float32) -> Iterator[Fit]:
        """Fit masks of points, each to the cell that it covers best."""
        for masks, predicted in zip(logits, quality, strict=True):
            for number in DOUBTFUL:
                mask = self._usable(masks[number], float(predicted[number]))
                if mask is not None:
                    covered = np.unique(self._found.labels[mask.window][mask.inside])
                    yield from self._fits(mask, [label for label in covered.tolist() if label])

    def _usable(self, logits: Float32, predicted: float) -> Mask | None:
        """Return a mask that passes the filters and is not too large for any cell."""
        if predicted < self._spec.min_predicted_iou:
            return None
        frame = self._found.frame
        logits = part_of_frame(logits, self._scale, frame.height, frame.width)
        if stability(logits) < self._spec.min_stability:
            return None
        area = np.count_nonzero(logits > 0) * (ANSWERED / self._scale) ** 2
        if area * self._spec.min_agreement > ROOM * int(self._areas[1:].max()):
            return None
        return outline(logits, self._scale, frame.height, frame.width, predicted)

    def _fits(self, mask: Mask, labels: Sequence[int]) -> Iterator[Fit]:
        """Compare a mask with some cells; those that it agrees with are its fits."""
        inside = self._found.labels[mask.window][mask.inside]
        for label in labels:
            both = int(np.count_nonzero(inside == label))
            agreement = both / (len(inside) + int(self._areas[label]) - both)
            if both and agreement >= self._spec.min_agreement:
                yield Fit(label - 1, mask, agreement)


def without_doubles(fits: Sequence[Fit], max_overlap: float) -> list[Fit]:
    """Drop masks whose box overlaps that of a better one, by its predicted IoU, by more."""
    if not fits:
        return []
    boxes = np.array([fit.mask.box for fit in fits], dtype=np.float32)
    scores = np.array([fit.mask.predicted_iou for fit in fits], dtype=np.float32)
    return [fits[row] for row in thinned(boxes, scores, max_overlap).tolist()]


def best_fits(fits: Sequence[Fit]) -> list[Fit]:
    """Return for each cell the mask that agrees best with it, worst predicted IoU first."""
    best: dict[int, Fit] = {}
    for fit in fits:
        if fit.cell not in best or fit.agreement > best[fit.cell].agreement:
            best[fit.cell] = fit
    return sorted(best.values(), key=lambda fit: (fit.mask.predicted_iou, fit.cell))


def redrawn(found: Detections, fits: Sequence[Fit]) -> Detections:
    """Redraw cells with the outlines of their masks; cells without one keep their own.

    Parameters
    ----------
    fits : at most one for each cell; where two cover the same ground, the later has it.

    What the classical segmenter gave to another cell is not taken from it, so cells that touch
    stay apart.
    """
    labels: UInt16 = np.array(found.labels)
    boxes: Float32 = np.array(found.boxes)
    for fit in fits:
        labels[found.labels == fit.cell + 1] = 0
    for fit in fits:
        place = fit.mask.window
        owner = found.labels[place]
        mine = fit.mask.inside & ((owner == 0) | (owner == fit.cell + 1))
        labels[place][mine] = fit.cell + 1
    for fit in fits:
        boxes[fit.cell] = _box(labels, fit)
    return Detections(frame=found.frame, boxes=boxes, labels=labels, scores=found.scores)


def _box(labels: UInt16, fit: Fit) -> Int64:
    """Return the box around what a cell has in the end."""
    rows, columns = (
        np.flatnonzero((labels[fit.mask.window] == fit.cell + 1).any(axis=axis)) for axis in (1, 0)
    )
    left, top = fit.mask.left, fit.mask.top
    return np.array(
        [left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1], np.int64
    )
