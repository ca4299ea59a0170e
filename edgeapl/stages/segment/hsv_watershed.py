"""The classical segmenter: background removed, stain index thresholded, watershed, cells joined."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.segment.cells import (
    MOST_LABELS,
    CellLimits,
    Piece,
    add_cytoplasm,
    grouped,
    is_cell,
    join_lobes,
    mean_over,
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
from edgeapl.types import Detections, Float32, Frame, Int64, UInt16

WORKING_UM_PER_PX = 0.25
"""All structures are looked for at this scale: a nuclear lobe of 2 µm is still 8 px wide."""


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
        groups = self._nuclei(index, density)
        at, numbers = add_cytoplasm(groups, density, WORKING_UM_PER_PX, self.cell)
        return _detections(frame, size, at, numbers, _confidence(index, groups))

    def _nuclei(self, index: Float32, density: Float32) -> list[list[Piece]]:
        """Give the pieces of each cell's nucleus."""
        threshold = nucleus_threshold(index, density, self.nucleus)
        labels = find_nuclei(index, threshold, WORKING_UM_PER_PX, self.nucleus)
        pieces = pieces_of(labels, WORKING_UM_PER_PX)
        groups = join_lobes(pieces, labels, density, WORKING_UM_PER_PX, self.cell)
        cells = [g for g in groups if is_cell(g, density, WORKING_UM_PER_PX, self.cell)]
        return cells[:MOST_LABELS]


def _confidence(index: Float32, groups: list[list[Piece]]) -> Float32:
    """Give 0 to 1 per cell: how far its mean index stands above that of red cells."""
    means = np.array([mean_over(group, index) for group in groups])
    # 0.05 is the index of a dark red cell, 0.2 that of a pale nucleus: 0 and 0.78.
    return np.asarray(1 - np.exp(-np.maximum(means - 0.05, 0) / 0.1), dtype=np.float32)


def _detections(
    frame: Frame, size: tuple[int, int], at: Int64, numbers: Int32, scores: Float32
) -> Detections:
    """Bring the cells to the frame's size, each pixel from the one it lies in.

    Parameters
    ----------
    size : width and height, px, of the image that the cells were found in.
    at, numbers : of `edgeapl.stages.segment.cells.add_cytoplasm`.
    """
    columns = np.arange(frame.width) * size[0] // frame.width
    rows = np.arange(frame.height) * size[1] // frame.height
    boxes = []
    kept = []
    renumbered = np.zeros(len(scores) + 1, dtype=np.uint16)
    for piece in grouped(at, numbers, size[0], WORKING_UM_PER_PX):
        x0, x1 = np.searchsorted(columns, (piece.box[0], piece.box[2]))
        y0, y1 = np.searchsorted(rows, (piece.box[1], piece.box[3]))
        if x0 < x1 and y0 < y1:  # a frame coarser than the working scale may skip a thin cell
            boxes.append((x0, y0, x1, y1))
            kept.append(piece.number - 1)
            renumbered[piece.number] = len(boxes)
    labels = np.zeros((size[1], size[0]), dtype=np.uint16)
    labels.ravel()[at] = renumbered[numbers]
    return Detections(
        frame=frame,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=_enlarged(labels, rows, columns),
        scores=scores[kept],
    )


def _enlarged(labels: UInt16, rows: Int64, columns: Int64) -> UInt16:
    """Give `labels[rows][:, columns]`, by OpenCV where it takes the same pixels: much faster."""
    size = (len(columns), len(rows))
    across = np.arange(labels.shape[1], dtype=np.float32)[None]
    down = np.arange(labels.shape[0], dtype=np.float32)[:, None]
    same = np.array_equal(_nearest(across, (size[0], 1))[0], columns) and np.array_equal(
        _nearest(down, (1, size[1]))[:, 0], rows
    )
    if same:
        return np.asarray(_nearest(labels, size), dtype=np.uint16)
    return np.take(labels[rows], columns, axis=1)


def _nearest(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST))
