"""The image of a cell, cut out of its frame when a network is about to see it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from edgeapl.inference.answer_memo import digest_of
from edgeapl.stages.crop import CellImages, UncutCells
from edgeapl.stages.views import view_of
from edgeapl.types import UInt8


class CellImage:
    """One cell, cut out the first time it is asked for, and kept for the next network.

    Until then it takes no memory, and a cell that nobody looks at after all is never cut.

    Parameters
    ----------
    cells : images, or where they are to be cut. row : of this one.
    """

    __slots__ = ("_cells", "_digest", "_first", "_pixels", "_row", "_view")

    def __init__(self, cells: CellImages | Sequence[UInt8], row: int) -> None:
        self._cells = cells
        self._row = row
        self._digest: bytes | None = None
        self._pixels: UInt8 | None = None if isinstance(cells, UncutCells) else cells[row]
        self._view = 0
        self._first: CellImage | None = None

    def seen(self, view: int) -> CellImage:
        """Return another view of the cell, by its number in `edgeapl.stages.views`.

        The cell is cut once for all views, and none of them is kept: turning it costs less than the
        memory of eight.
        """
        if view == 0:
            return self
        other = CellImage(self._cells, self._row)
        other._pixels, other._view, other._first = None, view, self
        return other

    @property
    def nbytes(self) -> int:
        """What it takes beside its frame."""
        return 0 if self._pixels is None else int(self._pixels.nbytes)

    @property
    def pixels(self) -> UInt8:
        """The image, uint8 (size, size, 3) RGB. Two threads may cut it at the same time: alike."""
        return self.cut() if self._first is None else view_of(self._first.cut(), self._view)

    def cut(self) -> UInt8:
        """Cut the cell, unless it is cut already, and return it as it lies."""
        if self._first is not None:
            return self._first.cut()
        if self._pixels is None:
            assert isinstance(self._cells, UncutCells)
            self._pixels = self._cells.cut_one(self._row)
        return self._pixels

    @property
    def digest(self) -> bytes:
        """SHA-256 of the image as it was cut, made once for all networks."""
        if self._digest is None:
            self._digest = digest_of(self.pixels)
        return self._digest


def cut_out(cells: Sequence[CellImage]) -> float:
    """Cut the images of a batch, once for all networks, and return the seconds that it took."""
    start = time.perf_counter()
    for cell in cells:
        cell.cut()
    return time.perf_counter() - start


def images_of(cells: Sequence[CellImage]) -> UInt8:
    """Return the images of a batch, uint8 (N, size, size, 3) RGB."""
    # One cell is given as it was cut: no copy.
    return cells[0].pixels[None] if len(cells) == 1 else np.stack([cell.pixels for cell in cells])
