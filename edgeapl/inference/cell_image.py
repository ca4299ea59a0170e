"""The image of a cell, cut out of its frame when a network is about to see it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from edgeapl.stages.crop import CellImages, UncutCells
from edgeapl.types import UInt8


class CellImage:
    """One cell, cut out the first time it is asked for, and kept for the next network.

    Until then it takes no memory, and a cell that nobody looks at after all is never cut.

    Parameters
    ----------
    cells : images, or where they are to be cut. row : of this one.
    """

    __slots__ = ("_cells", "_pixels", "_row")

    def __init__(self, cells: CellImages | Sequence[UInt8], row: int) -> None:
        self._cells = cells
        self._row = row
        self._pixels: UInt8 | None = None if isinstance(cells, UncutCells) else cells[row]

    @property
    def nbytes(self) -> int:
        """What it takes beside its frame."""
        return 0 if self._pixels is None else int(self._pixels.nbytes)

    @property
    def pixels(self) -> UInt8:
        """The image, uint8 (size, size, 3) RGB. Two threads may cut it at the same time: alike."""
        if self._pixels is None:
            assert isinstance(self._cells, UncutCells)
            self._pixels = self._cells.cut_one(self._row)
        return self._pixels


def images_of(cells: Sequence[CellImage]) -> tuple[UInt8, float]:
    """Return the images of a batch, uint8 (N, size, size, 3) RGB, and the seconds to cut them."""
    start = time.perf_counter()
    images = [cell.pixels for cell in cells]
    seconds = time.perf_counter() - start
    # One cell is given as it was cut: no copy.
    return (images[0][None] if len(images) == 1 else np.stack(images)), seconds
