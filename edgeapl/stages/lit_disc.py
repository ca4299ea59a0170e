"""The lit disc of an image taken through an eyepiece: the field ends with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeapl.stages.tiling import Bool
from edgeapl.types import Float32, UInt8

DIM_AT = 0.5
"""Share of the light of the middle at which the field ends; a tile is dark below 0.45."""

INSET = 0.02
"""Share of the radius by which the core stays away from the rim, besides the rim's own width."""

_ANGLES = 90
"""Rectangles within the disc that are tried, from wide to high."""

Window = tuple[slice, slice]


@dataclass(frozen=True, slots=True, eq=False)
class LitDisc:
    """Where the light of an eyepiece falls on an image.

    x, y : centre, px; may lie outside the image.
    radius : px; there `DIM_AT` of the light is left.
    height, width : of the image, px.
    falloff : float32 (N, 3), the light that is left of each colour, above 0 to 1, at N distances
        from the centre, evenly spread from 0 to the radius.
    ground : uint8 (S, 3), colour of the empty field near the rim, at S angles evenly spread over
        the circle, clockwise from the right.
    """

    x: float
    y: float
    radius: float
    height: int
    width: int
    falloff: Float32
    ground: UInt8

    @property
    def rim(self) -> float:
        """Width of the rim in which the light falls, px."""
        lit = np.flatnonzero(self.falloff.min(axis=1) < 1)
        share = lit[0] / (len(self.falloff) - 1) if len(lit) else 1.0
        return float(self.radius * (1 - share))

    @property
    def core(self) -> Window:
        """The largest upright rectangle that lies within the disc and the image: rows, columns.

        All of it is field, so any function of whole images accepts it. May be empty.
        """
        reach = self.radius * (1 - INSET) - self.rim
        turn = np.linspace(0, np.pi / 2, _ANGLES)
        wide, high = reach * np.cos(turn), reach * np.sin(turn)
        left, right = np.maximum(0, self.x - wide), np.minimum(self.width, self.x + wide)
        top, bottom = np.maximum(0, self.y - high), np.minimum(self.height, self.y + high)
        best = int((np.maximum(0, right - left) * np.maximum(0, bottom - top)).argmax())
        rows = slice(int(np.ceil(top[best])), int(max(top[best], bottom[best])))
        return rows, slice(int(np.ceil(left[best])), int(max(left[best], right[best])))

    def distances(self) -> Float32:
        """Return the distance of every pixel from the centre, px, float32 (H, W)."""
        down = (np.arange(self.height, dtype=np.float32) - np.float32(self.y)) ** 2
        across = (np.arange(self.width, dtype=np.float32) - np.float32(self.x)) ** 2
        squared = down[:, None] + across
        return np.sqrt(squared, out=squared)

    def reaches(self, boxes: Float32) -> Bool:
        """Tell which boxes, float32 (N, 4) x0 y0 x1 y1 px, lie in the disc in part, bool (N,)."""
        x = np.clip(self.x, boxes[:, 0], boxes[:, 2])
        y = np.clip(self.y, boxes[:, 1], boxes[:, 3])
        return np.asarray(np.hypot(x - self.x, y - self.y) < self.radius, dtype=bool)

    def outside(self, grid: tuple[int, int]) -> Bool:
        """Tell which tiles, R rows and C columns of them, are no part of the field, bool (R, C).

        A tile at the rim is part of it when at least half of it is lit.
        """
        rows, columns = grid
        parts = 4
        y = (np.arange(rows * parts) + 0.5) * self.height / (rows * parts)
        x = (np.arange(columns * parts) + 0.5) * self.width / (columns * parts)
        far = np.hypot(y[:, None] - self.y, x - self.x) > self.radius
        share = far.reshape(rows, parts, columns, parts).mean(axis=(1, 3))
        return np.asarray(share > 0.5, dtype=bool)

    @property
    def outside_share(self) -> float:
        """Share of the image that lies outside the disc, 0 to 1."""
        return float(self.outside((64, 64)).mean())
