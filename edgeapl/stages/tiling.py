"""A frame as tiles, each with some of its pixels: enough to judge light, colours and life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Float32, Int32, UInt8

Bool = NDArray[np.bool_]

SHORTER_SIDE_TILES = 8
"""Tiles along the shorter side of a frame: a tile is 1 to 2 % of it, and 6 to 36 µm wide in real
sets, so that hardly any is filled by the inside of one cell."""

SMALLEST_TILE_PX = 8

SAMPLES = 16
"""Pixels looked at along each side of a tile."""


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Some pixels of every tile, evenly spread: R rows and C columns of tiles with S x S' each.

    colours : red, green and blue, each uint8 (R, C, S, S').
    packed : the three in one number, int32 (R, C, S, S').
    beside : green of the pixel to the right of each, uint8 (R, C, S, S').
    """

    colours: tuple[UInt8, UInt8, UInt8]
    packed: Int32
    beside: UInt8


def tile_grid(height: int, width: int) -> tuple[int, int]:
    """Return rows and columns of tiles for an image of this many px."""
    side = max(SMALLEST_TILE_PX, min(height, width) / SHORTER_SIDE_TILES)
    return max(1, round(height / side)), max(1, round(width / side))


def sample_tiles(pixels: UInt8, grid: tuple[int, int]) -> Sampled:
    """Take pixels of an image, uint8 (H, W, 3) RGB, that has at least one for every tile."""
    rows, columns = grid
    down = places(pixels.shape[0], rows)
    across = places(pixels.shape[1], columns)
    lines = pixels[down]
    some = cv2.cvtColor(lines[:, across], cv2.COLOR_RGB2RGBA)
    packed = some.view(np.int32)[..., 0]
    beside = lines[:, np.minimum(across + 1, pixels.shape[1] - 1), 1]
    red, green, blue, _ = (_by_tile(plane, grid) for plane in cv2.split(some))
    return Sampled((red, green, blue), _by_tile(packed, grid), _by_tile(beside, grid))


def over_neighbours(plane: Float32) -> Float32:
    """Sum over every tile and its neighbours that share a side or corner, float32 (R, C)."""
    size = (3, 3)
    summed = cv2.boxFilter(plane, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(summed, np.float32)


def large_parts(tiles: Bool, least_share: float, *, corners: bool = False) -> Bool:
    """Leave tiles that touch as many others as make up this share of the frame, bool (R, C).

    corners : whether tiles touch at a corner, too.
    """
    found = tiles.astype(np.uint8)
    _, part, stats, _ = cv2.connectedComponentsWithStats(found, connectivity=8 if corners else 4)
    large = stats[:, cv2.CC_STAT_AREA] >= least_share * tiles.size
    large[0] = False
    return np.asarray(large[part], dtype=bool)


def with_ground(found: Bool, judged: Bool) -> Bool:
    """Add tiles that could not be judged to those found, where most around them were."""
    if not found.any():
        return found
    neighbours, found_neighbours = (
        over_neighbours(one.astype(np.float32)) for one in (judged, found)
    )
    return np.asarray(found | (~judged & (found_neighbours > neighbours / 2)), dtype=bool)


def places(length: int, tiles: int, samples: int = SAMPLES) -> NDArray[np.int64]:
    """Return the indices of the sampled rows or columns, as many in each tile."""
    count = tiles * min(samples, max(1, length // tiles))
    return np.asarray((np.arange(count) + 0.5) * length / count, dtype=np.int64)


def _by_tile(plane: Any, grid: tuple[int, int]) -> Any:
    rows, columns = grid
    height, width = plane.shape
    cut = plane.reshape(rows, height // rows, columns, width // columns)
    return np.ascontiguousarray(cut.swapaxes(1, 2))
