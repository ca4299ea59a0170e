"""The classical segmenter: background removed, stain index thresholded, watershed, cells joined."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from edgeapl.stages.segment.cells import (
    CellLimits,
    Piece,
    add_cytoplasm,
    is_cell,
    join_lobes,
    pieces_of,
)
from edgeapl.stages.segment.illumination import optical_density
from edgeapl.stages.segment.nuclei import (
    Int32,
    NucleusLimits,
    find_nuclei,
    nucleus_index,
    nucleus_threshold,
)
from edgeapl.types import Detections, Float32, Frame

WORKING_UM_PER_PX = 0.25
"""All structures are looked for at this scale: a nuclear lobe of 2 µm is still 8 px wide."""

MOST_CELLS = 65535
"""Labels are uint16."""


@dataclass(frozen=True, slots=True)
class HsvWatershed:
    """Finds nucleated cells of a Romanowsky-stained smear (after Manescu 2023, Methods).

    nucleus, cell : limits in µm and optical density; see their classes.
    """

    nucleus: NucleusLimits = field(default_factory=NucleusLimits)
    cell: CellLimits = field(default_factory=CellLimits)

    def segment(self, frame: Frame) -> Detections:
        """Find the nucleated cells of one frame; see `edgeapl.protocols.Segmenter`."""
        shrink = frame.um_per_px / WORKING_UM_PER_PX
        size = (max(8, round(frame.width * shrink)), max(8, round(frame.height * shrink)))
        how = cv2.INTER_AREA if shrink < 1 else cv2.INTER_LINEAR
        small = np.asarray(cv2.resize(frame.pixels, size, interpolation=how), dtype=np.uint8)
        density = optical_density(small)
        index = nucleus_index(density, WORKING_UM_PER_PX, self.nucleus)
        nuclei, groups = self._nuclei(index, density)
        cells = add_cytoplasm(nuclei, density, WORKING_UM_PER_PX, self.cell)
        return _detections(frame, cells, _confidence(index, nuclei, len(groups)))

    def _nuclei(self, index: Float32, density: Float32) -> tuple[Int32, list[list[Piece]]]:
        """Give a label image with one number per cell's nucleus, and the pieces of each."""
        threshold = nucleus_threshold(index, density, self.nucleus)
        labels = find_nuclei(index, threshold, WORKING_UM_PER_PX, self.nucleus)
        pieces = pieces_of(labels, WORKING_UM_PER_PX)
        groups = [
            group
            for group in join_lobes(pieces, labels, density, WORKING_UM_PER_PX, self.cell)
            if is_cell(group, index, density, labels, WORKING_UM_PER_PX, self.cell)
        ][:MOST_CELLS]
        number = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.int32)
        for row, group in enumerate(groups):
            number[[piece.number for piece in group]] = row + 1
        return number[labels], groups


def _confidence(index: Float32, nuclei: Int32, count: int) -> Float32:
    """Give 0 to 1 per cell: how far its mean index stands above that of red cells."""
    at = np.flatnonzero(nuclei)
    numbers = nuclei.ravel()[at]
    sizes = np.bincount(numbers, minlength=count + 1)[1:]
    sums = np.bincount(numbers, weights=index.ravel()[at], minlength=count + 1)[1:]
    means = sums / np.maximum(sizes, 1)
    # 0.05 is the index of a dark red cell, 0.2 that of a pale nucleus: 0 and 0.78.
    return np.asarray(1 - np.exp(-np.maximum(means - 0.05, 0) / 0.1), dtype=np.float32)


def _detections(frame: Frame, cells: Int32, scores: Float32) -> Detections:
    """Bring the label image back to the frame's size, each pixel from the one it lies in."""
    rows = np.arange(frame.height) * cells.shape[0] // frame.height
    columns = np.arange(frame.width) * cells.shape[1] // frame.width
    boxes = []
    kept = []
    renumbered = np.zeros(len(scores) + 1, dtype=np.uint16)
    for piece in pieces_of(cells, WORKING_UM_PER_PX):
        x0, x1 = np.searchsorted(columns, (piece.box[0], piece.box[2]))
        y0, y1 = np.searchsorted(rows, (piece.box[1], piece.box[3]))
        if x0 < x1 and y0 < y1:  # a frame coarser than the working scale may skip a thin cell
            boxes.append((x0, y0, x1, y1))
            kept.append(piece.number - 1)
            renumbered[piece.number] = len(boxes)
    return Detections(
        frame=frame,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.take(renumbered[cells][rows], columns, axis=1),
        scores=scores[kept],
    )
