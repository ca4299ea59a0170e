"""Some whole rows and columns of a frame: every pixel beside its neighbours, at little cost.

What is done to an image, be it torn, made coarse, smoothed or put together wrongly, shows from one
pixel to the next. A few lines of every tile are enough for that, where a few pixels are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.tiling import places
from edgeapl.types import Float32, UInt8

LINES = 8
"""Rows, and columns, of each tile that are taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Lines of a frame of R rows and C columns of tiles: L rows and L columns of every tile.

    rows : uint8 (R * L, W, 3) RGB. columns : uint8 (C * L, H, 3). grid : R and C.
    """

    rows: UInt8
    columns: UInt8
    grid: tuple[int, int]

    def both(self) -> tuple[tuple[UInt8, int, int], tuple[UInt8, int, int]]:
        """Return rows and columns, each with how many tiles lie beside and along them."""
        rows, columns = self.grid
        return (self.rows, rows, columns), (self.columns, columns, rows)


def lines_of(pixels: UInt8, grid: tuple[int, int]) -> Lines:
    """Take lines of an image, uint8 (H, W, 3) RGB, evenly spread over its tiles."""
    rows, columns = grid
    across = pixels[places(pixels.shape[0], rows, LINES)]
    down = np.take(pixels, places(pixels.shape[1], columns, LINES), axis=1)
    return Lines(across, np.asarray(cv2.transpose(down), np.uint8), grid)


def sums_by_tile(values: NDArray[np.float32], beside: int, along: int) -> Float32:
    """Sum values of lines, float32 (beside * L, N), over every tile: (beside, along)."""
    by_tile = values.reshape(beside, -1, values.shape[1]).sum(axis=1)
    starts = np.arange(along) * values.shape[1] // along
    return np.asarray(np.add.reduceat(by_tile, starts, axis=1), np.float32)
