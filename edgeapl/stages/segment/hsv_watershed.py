"""The classical segmenter: background removed, stain index thresholded, watershed, cells joined."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.segment.cells import (
    CellLimits,
    Fragment,
    fragments_of,
    join_lobes,
    means_over,
    nuclei_of_cells,
)
from edgeapl.stages.segment.cytoplasm import add_cytoplasm, cell_body
from edgeapl.stages.segment.illumination import optical_density
from edgeapl.stages.segment.nuclei import (
    MOST_LABELS,
    NucleusLimits,
    find_nuclei,
    leave_out_red_cells,
    nucleus_index,
    nucleus_threshold,
    smooth_density,
)
from edgeapl.stages.segment.red_cells import BLUEST, bluest_nucleus, red_cells_of
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
        with ThreadPoolExecutor(1, "edgeapl-cytoplasm") as beside:
            # On a core that has nothing else to do, as before the first cells of a frame are found.
            red_cells = red_cells_of(density)
            smooth = smooth_density(density, WORKING_UM_PER_PX, self.nucleus)
            body = beside.submit(cell_body, smooth, red_cells)
            index = nucleus_index(smooth)
            groups = self._nuclei(index, density, smooth, bluest_nucleus(red_cells))
        cells, boxes = add_cytoplasm(groups, body.result(), WORKING_UM_PER_PX, self.cell)
        return _detections(frame, cells, boxes, _confidence(index, groups))

    def _nuclei(
        self, index: Float32, density: Float32, smooth: Float32, bluest: float
    ) -> list[list[Fragment]]:
        """Return the fragments of each cell's nucleus."""
        threshold = nucleus_threshold(index, density, self.nucleus, bluest)
        if bluest < BLUEST:
            leave_out_red_cells(index, smooth, bluest)
        labels = find_nuclei(index, threshold, WORKING_UM_PER_PX, self.nucleus)
        fragments = fragments_of(labels, WORKING_UM_PER_PX)
        groups = join_lobes(fragments, labels, density, WORKING_UM_PER_PX, self.cell)
        return nuclei_of_cells(groups, density, self.cell, bluest)[:MOST_LABELS]


def _confidence(index: Float32, groups: list[list[Fragment]]) -> Float32:
    """Return 0 to 1 per cell: how far its mean index stands above that of red cells."""
    means = means_over(groups, index)
    # 0.05 is the index of a dark red cell, 0.2 that of a pale nucleus: 0 and 0.78.
    return np.asarray(1 - np.exp(-np.maximum(means - 0.05, 0) / 0.1), dtype=np.float32)


def _detections(frame: Frame, cells: UInt16, boxes: Int64, scores: Float32) -> Detections:
    """Bring the cells to the frame's size, each pixel from the one it lies in.

    Parameters
    ----------
    cells, boxes : uint16 (h, w), one label per cell, and int64 (N, 4), x0 y0 x1 y1.
    """
    rows = np.arange(frame.height) * cells.shape[0] // frame.height
    columns = np.arange(frame.width) * cells.shape[1] // frame.width
    x0, x1 = np.searchsorted(columns, boxes[:, [0, 2]]).T
    y0, y1 = np.searchsorted(rows, boxes[:, [1, 3]]).T
    seen = (x0 < x1) & (y0 < y1)  # a frame coarser than the working scale may skip a thin cell
    if not seen.all():
        number = np.zeros(len(boxes) + 1, dtype=np.uint16)
        number[1:][seen] = np.arange(1, np.count_nonzero(seen) + 1)
        cells = number[cells]
    return Detections(
        frame=frame,
        boxes=np.stack([x0, y0, x1, y1], axis=1)[seen].astype(np.float32),
        labels=_enlarged(cells, rows, columns),
        scores=scores[seen],
    )


def _enlarged(labels: UInt16, rows: Int64, columns: Int64) -> UInt16:
    """Return `labels[rows][:, columns]`, by OpenCV where it takes the same pixels: much faster."""
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
