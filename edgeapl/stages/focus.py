"""How sharp a frame is, as the width of its edges in µm.

An edge blurred by a Gaussian of sigma s has, after more blur by a, a steepest slope in proportion
to 1 / sqrt(s² + a²). So the ratio of its squared slopes after little and after more blur gives s,
whatever the stain, the exposure and the number of cells (Zhuo and Sim, Pattern Recognition 44,
2011: defocus from the gradient ratio of the re-blurred image).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Float32, UInt8

Bool = NDArray[np.bool_]

WORKING_UM_PER_PX = 0.25
"""Fine enough for the granules that matter (about 0.5 µm), coarse enough to average noise away."""

LITTLE_PX, MORE_PX = 0.8, 2.0
"""Sigmas of the two blurs, 0.2 and 0.5 µm at the working scale. Of the pairs tried on six real
sets these told sharp images from the same blurred by 0.75 µm without an error."""

_TILE_PX, _TILES = 192, 3
"""Nine tiles spread over the frame are looked at, so that the time does not grow with its size."""

_EDGES, _FLAT = 0.95, 0.3
"""Slopes from the 95th percentile on are edges; up to the 30th there is only noise."""

_WHITE, _BLACK, _NEAR_PX = 250, 3, 5
"""Grey values of what is written on images, and how far its edges reach after more blur, px."""

_MOST_WRITTEN = 0.15
"""Share of the pixels within that reach."""

SHARPEST = 10.0
"""The measure ends here: an edge of 0.1 µm is beyond any light microscope."""


class Edges:
    """The edges of a frame: found once, and only as far as they are needed.

    Parameters
    ----------
    pixels : uint8 (H, W, 3) RGB.
    um_per_px : µm per px. An error in it is an error of the same share in the sharpness.
    """

    def __init__(self, pixels: UInt8, um_per_px: float) -> None:
        self._pixels = pixels
        self._um_per_px = um_per_px

    @cached_property
    def _tiles(self) -> list[UInt8]:
        return _working_tiles(self._pixels, self._um_per_px)

    def _plane(self) -> Float32:
        return np.empty(sum(tile.size for tile in self._tiles), dtype=np.float32)

    def _placed(self) -> Iterator[tuple[slice, UInt8]]:
        """Yield the tiles, each with its place among the pixels of all."""
        start = 0
        for tile in self._tiles:
            yield slice(start, start + tile.size), tile
            start += tile.size

    @cached_property
    def slopes(self) -> tuple[Float32, Float32]:
        """Slopes across and down after little blur, of all tiles, each float32 (N,)."""
        return self._slopes_after(LITTLE_PX)

    @cached_property
    def blurred_slopes(self) -> tuple[Float32, Float32]:
        """The same after more blur, for callers that compare both."""
        return self._slopes_after(MORE_PX)

    @cached_property
    def unwritten(self) -> Bool | None:
        """Which pixels of all tiles lie apart from writing, bool (N,); None if there is none.

        A scale bar or a date was not there when the image was taken. It is white or black as little
        else is; where much is, that is the light.
        """
        found = np.empty(sum(tile.size for tile in self._tiles), dtype=bool)
        reach = np.ones((2 * _NEAR_PX + 1, 2 * _NEAR_PX + 1), np.uint8)
        for place, tile in self._placed():
            marks = (tile >= _WHITE) | (tile <= _BLACK)
            if not marks.any():
                found[place] = False
                continue
            found[place] = cv2.dilate(marks.astype(np.uint8), reach).ravel() > 0
        return ~found if 0 < np.count_nonzero(found) <= _MOST_WRITTEN * found.size else None

    def _slopes_after(self, sigma: float) -> tuple[Float32, Float32]:
        across, down = (self._plane() for _ in range(2))
        for place, tile in self._placed():
            across[place], down[place] = _slopes(tile, sigma)
        return across, down

    @cached_property
    def squared(self) -> Float32:
        """Squared slopes after little blur, float32 (N,)."""
        across, down = self.slopes
        squared = across * across
        squared += down * down
        return squared

    @cached_property
    def sharpness(self) -> float:
        """1 / (sigma of the edges in µm), 0 to `SHARPEST`.

        441 real frames give 1.7 or more (sigma 0.6 µm); blurred by a sigma of 1 µm they give 1.4
        or less. A frame without any edge gives 0.
        """
        little = self.squared
        more = self._plane()
        for place, tile in self._placed():
            across, down = _slopes(tile, MORE_PX)
            more[place] = across * across + down * down
        is_edge, is_flat = edges_and_ground(more)
        # What is found on plain ground is noise, and the edges carry as much of it.
        over = _mean(little, is_edge) - _mean(little, is_flat)
        under = _mean(more, is_edge) - _mean(more, is_flat)
        if over <= 0 or under <= 0:
            return 0.0
        working = max(WORKING_UM_PER_PX, self._um_per_px)
        return min(SHARPEST, 1 / max(sigma_px(over / under) * working, 1 / SHARPEST))


def focus_measure(pixels: UInt8, um_per_px: float) -> float:
    """Return the sharpness of a frame; see `Edges.sharpness`."""
    return Edges(pixels, um_per_px).sharpness


def edges_and_ground(steep: Float32) -> tuple[Bool, Bool]:
    """Tell which squared slopes, float32 (N,), are edges, and which plain ground."""
    flat, edge = np.quantile(steep[:: max(1, len(steep) // 30_000)], [_FLAT, _EDGES])
    return steep >= edge, steep <= flat


def _mean(values: Float32, chosen: Bool) -> float:
    return float(cv2.mean(values[None], chosen[None].view(np.uint8))[0])


def sigma_px(ratio: float) -> float:
    """Sigma of the edges, px, from the ratio of their squared slopes, more blur below."""
    if ratio <= 1:
        return float("inf")
    squared = (MORE_PX**2 - ratio * LITTLE_PX**2) / (ratio - 1)
    return float(np.sqrt(max(0.0, squared)))


def _working_tiles(pixels: UInt8, um_per_px: float) -> list[UInt8]:
    """Return the tiles to search for edges, green at the working scale, uint8 (h, w).

    Coarser frames are taken as they are: enlarging them would add blur.
    """
    shrink = um_per_px / max(WORKING_UM_PER_PX, um_per_px)
    tiles = []
    for tile in _tiles(pixels, round(_TILE_PX / shrink)):
        green = cv2.extractChannel(tile, 1)  # where both stains absorb
        if shrink < 1:
            size = (max(8, round(tile.shape[1] * shrink)), max(8, round(tile.shape[0] * shrink)))
            green = cv2.resize(green, size, interpolation=cv2.INTER_AREA)
        tiles.append(np.asarray(green, dtype=np.uint8))
    return tiles


def _slopes(tile: UInt8, sigma: float) -> tuple[Float32, Float32]:
    """Slopes across and down, float32 (N,), after blur by sigma px."""
    smooth = cv2.GaussianBlur(tile.astype(np.float32), (0, 0), sigma)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *way) for way in ((1, 0), (0, 1)))
    return np.asarray(across, np.float32).ravel(), np.asarray(down, np.float32).ravel()


def _tiles(pixels: UInt8, side: int) -> list[UInt8]:
    """Cut up to 3 x 3 tiles, evenly spread and not overlapping."""
    return [
        pixels[top : top + side, left : left + side]
        for top in _spread(pixels.shape[0], side)
        for left in _spread(pixels.shape[1], side)
    ]


def _spread(length: int, side: int) -> list[int]:
    count = max(1, min(_TILES, length // side))
    if count == 1:
        return [max(0, (length - side) // 2)]
    return [round(number * (length - side) / (count - 1)) for number in range(count)]
