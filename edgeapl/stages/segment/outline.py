"""The outline of a cell around its nucleus: the best closed curve, by dynamic programming.

A cell on a dried smear is seen from its middle in every direction once, so its outline is one
radius for each direction. The radii that take in most of what looks like cell, least of what does
not, end where the stain ends, and change little from direction to direction are found exactly
(Amini, Weymouth and Jain 1990; cells in polar coordinates: Baggett et al. 2005).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Float32, Int32, Int64

DIRECTIONS = 40
"""Ways from the middle: at 8 µm they end 1.3 µm apart."""

MOST_STEPS = 2
"""Radii of neighbouring directions differ by no more, px."""

STIFFNESS = 0.4
"""What a difference of one step costs, squared for more."""

SLOPE = 2.0
"""What a fall of 1 in optical density at the outline is worth, in µm² of cell."""

SLOPE_PX = 2
"""The stain is compared that far inside and outside the outline."""

MOST_AT_ONCE = 512
"""Cells whose rays are in memory together."""

_NEVER = np.float32(-1e9)


def directions() -> tuple[Float32, Float32]:
    """Return the unit vectors, x and y, of all directions, float32 (DIRECTIONS,) each."""
    angles = np.arange(DIRECTIONS, dtype=np.float32) * np.float32(2 * np.pi / DIRECTIONS)
    return np.cos(angles), np.sin(angles)


def ray_pixels(
    x: Float32, y: Float32, length: int, size: tuple[int, ...]
) -> tuple[Int32, Int32, NDArray[np.bool_]]:
    """Return the pixels on the rays of some cells, column and row, and which lie in the image.

    Parameters
    ----------
    x, y : float32 (N,), middles. length : how far the rays go, px. size : H, W of the image.

    Returns
    -------
    int32, int32 and bool (N, DIRECTIONS, length).
    """
    reach = np.arange(1, length + 1, dtype=np.float32)
    found = []
    inside = np.ones((len(x), DIRECTIONS, length), np.bool_)
    for middle, towards, side in zip((x, y), directions(), (size[1], size[0]), strict=True):
        at = middle[:, None, None] + (towards[:, None] * reach + np.float32(0.5))
        inside &= at >= 0
        inside &= at < side
        found.append(np.clip(at, 0, side - 1, out=at).astype(np.int32))
    return found[0], found[1], inside


def best_radii(worth: Float32, stain: Float32, um_per_px: float) -> Int64:
    """Return the radius of every cell in every direction, int64 (N, DIRECTIONS), px.

    Parameters
    ----------
    worth : float32 (N, DIRECTIONS, R), how much a pixel along the ray looks like cell, below 0 for
        what it should not hold.
    stain : float32, of the same shape, optical density; 0 where there is nothing to compare.
    """
    length = worth.shape[2]
    sector = np.float32(2 * np.pi / DIRECTIONS * um_per_px**2)
    gains = worth * (np.arange(1, length + 1, dtype=np.float32) * sector)
    np.cumsum(gains, axis=2, out=gains)
    falls = stain[:, :, : -2 * SLOPE_PX] - stain[:, :, 2 * SLOPE_PX :]
    gains[:, :, SLOPE_PX:-SLOPE_PX] += np.float32(SLOPE) * falls
    return _closed(np.ascontiguousarray(gains.transpose(1, 0, 2)))


def _closed(gains: Float32) -> Int64:
    """Find the best closed curve, int64 (N, DIRECTIONS), for gains float32 (DIRECTIONS, N, R).

    The curve is followed one and a half times around and read between its ends, where its start no
    longer matters.
    """
    _, count, length = gains.shape
    shifts = range(-MOST_STEPS, MOST_STEPS + 1)
    padded = np.full((count, length + 2 * MOST_STEPS), _NEVER, np.float32)
    best = padded[:, MOST_STEPS:-MOST_STEPS]
    best[:] = 0
    turns = DIRECTIONS + DIRECTIONS // 2
    came = np.zeros((turns, count, length), np.int8)
    top, other = np.empty((2, count, length), np.float32)
    for turn in range(turns):
        np.copyto(top, best)
        for shift in shifts:
            if shift:
                start = MOST_STEPS - shift
                cost = np.float32(STIFFNESS * shift**2)
                np.subtract(padded[:, start : start + length], cost, out=other)
                np.copyto(came[turn], shift, where=other > top)
                np.maximum(top, other, out=top)
        np.add(top, gains[turn % DIRECTIONS], out=best)
    radii = np.empty((turns, count), np.int64)
    cells = np.arange(count)
    radius = best.argmax(axis=1)
    for turn in range(turns - 1, -1, -1):
        radii[turn] = radius
        radius = radius - came[turn, cells, radius]
    first = DIRECTIONS // 4
    middle = np.roll(radii[first : first + DIRECTIONS], first, axis=0)
    return np.ascontiguousarray(middle.T) + 1
