"""Keeps the most suspicious cells, with their pictures, while frames pass by."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from edgeapl.bundle.specs import CropSpec
from edgeapl.stages.crop import cut_cells
from edgeapl.types import CellStatus, ExaminedFrame, UInt8


@dataclass(frozen=True, slots=True, eq=False)
class KeptCell:
    """A cell, and what the networks saw of it.

    cell : its number within the slide. frame : number of its frame. source : the frame's name.
    suspicion : 0 to 1. crop : uint8 (size, size, 3). proportions : height to width of the frame.
    """

    cell: int
    frame: int
    source: str
    suspicion: float
    crop: UInt8
    proportions: float


class MostSuspicious:
    """The cells with the highest suspicion; of equal ones the first.

    Parameters
    ----------
    most : how many are kept. spec, cell_images : how they are cut out.
    """

    def __init__(self, most: int, spec: CropSpec, *, cell_images: bool) -> None:
        self._most = most
        self._spec = spec
        self._cell_images = cell_images
        self._heap: list[tuple[float, int, KeptCell]] = []

    def add(self, examined: ExaminedFrame) -> None:
        """Take the scored cells of a frame, and cut out those that are kept."""
        scored = [row for row, s in enumerate(examined.status) if s is CellStatus.SCORED]
        ranked = sorted(scored, key=lambda row: (-float(examined.suspicion[row]), row))
        rows = [row for row in ranked[: self._most] if self._has_room(examined, row)]
        if not rows:
            return
        chosen = examined.detections.only(np.array(rows, dtype=np.int64))
        crops = cut_cells(chosen, self._spec, cell_image=self._cell_images)
        for row, crop in zip(rows, crops, strict=True):
            frame = examined.frame
            suspicion, cell = float(examined.suspicion[row]), int(examined.ids[row])
            proportions = frame.height / frame.width
            kept = KeptCell(cell, frame.index, frame.source, suspicion, crop.copy(), proportions)
            heapq.heappush(self._heap, (suspicion, -cell, kept))
            if len(self._heap) > self._most:
                heapq.heappop(self._heap)

    def _has_room(self, examined: ExaminedFrame, row: int) -> bool:
        rank = (float(examined.suspicion[row]), -int(examined.ids[row]))
        return len(self._heap) < self._most or rank > self._heap[0][:2]

    def best(self) -> list[KeptCell]:
        """Return the kept cells, most suspicious first."""
        return [entry[-1] for entry in sorted(self._heap, key=lambda e: (-e[0], -e[1]))]
