"""Parts of a frame that stand in it twice, though packed with loss since, or mirrored.

`edgeapl.stages.repeats` finds copies that are exactly alike. What went through JPEG is not, nor is
the mirror image that a reader makes which runs past the end of an image. A smaller image tells
these: no two bands of a smear look alike, and no several of them at one and the same distance.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgeapl.stages.tile_lines import Lines
from edgeapl.stages.tiling import Bool
from edgeapl.types import Float32, Int64, UInt8

PX = 8
"""Side of a tile in the smaller image."""

SHADE_PX = 4.0
"""Sigma of the smooth light and shade that is taken out of it, px."""

NEAR = 3.0
"""Tiles nearer to each other than this are not compared: a cell may be its own mirror image."""

ALIKE, BANDS = 0.75, 0.4
"""A band of tiles is correlated with itself so highly at some distance, and so many of the bands at
the same one. In no real frame more than a quarter of them are."""

LEAST_SHARE, LEAST_SEEN, LEAST_CONTRAST = 0.3, 0.25, 2.0
"""Columns of a band that are compared at the least, what they have to show of what the band does on
average, and how far their pixels are from the mean at the least, grey values."""


def twin_tiles(lines: Lines, outside: Bool | None = None) -> Bool:
    """Tell which tiles stand in the frame twice, moved or mirrored along a side, bool (R, C).

    outside : bool (R, C), tiles that are no part of the field. A round field is as long to the left
        as to the right, so they and those at the rim are not compared.
    """
    if outside is None:
        outside = np.zeros(lines.grid, dtype=bool)
    seen = cv2.dilate(outside.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    (rows, beside, along), (columns, _, _) = lines.both()
    across = _twins(_smaller(rows, along, seen), beside)
    return across | _twins(_smaller(columns, beside, seen.T), along).T


def _smaller(lines: UInt8, along: int, seen: Bool) -> Float32:
    """Return lines with `PX` px for every tile along them, float32 (N, PX * along).

    seen : bool (beside, along), tiles that are compared; the others are 0.
    """
    green = cv2.extractChannel(lines, 1)
    size = (PX * along, len(green))
    # As many on both sides are left out as it takes to average a whole number of px: much faster.
    left = green.shape[1] % size[0]
    green = green[:, left // 2 : green.shape[1] - (left - left // 2)]
    # One line is averaged, never several: a copy shows the same lines.
    small = np.asarray(cv2.resize(green, size, interpolation=cv2.INTER_AREA), np.float32)
    small -= cv2.GaussianBlur(small, (0, 0), SHADE_PX)
    return small * seen.repeat(len(small) // len(seen), axis=0).repeat(PX, axis=1)


def _twins(small: Float32, beside: int) -> Bool:
    """Tell which tiles of bands have a twin along them, bool (beside, along)."""
    bands = small.reshape(beside, -1, small.shape[1])
    width = bands.shape[2]
    along = width // PX
    found = np.zeros((beside, along), dtype=bool)
    products = bands.transpose(0, 2, 1) @ bands
    energy = np.einsum("bxx->bx", products)
    for mirrored in (True, False):
        alike = _correlations(products, energy, bands.shape[1], mirrored=mirrored) > ALIKE
        best = int(alike.sum(axis=0).argmax())
        if alike[:, best].sum() < BANDS * beside:
            continue
        place = np.arange(along) * PX + PX // 2
        other = best - place if mirrored else place + best - (width - 1)
        back = other if mirrored else place - best + (width - 1)
        both = ((other >= 0) & (other < width)) | ((back >= 0) & (back < width))
        found |= alike[:, best][:, None] & both
    return found


def _correlations(products: Float32, energy: Float32, lines: int, *, mirrored: bool) -> Float32:
    """Correlate bands with themselves at all distances, float32 (B, 2 W - 1).

    Parameters
    ----------
    products : float32 (B, W, W), of the columns of each band. energy : its diagonal.
    lines : of each band.
    mirrored : columns x and y with x + y the same are compared, else those with x - y the same.
    """
    width = energy.shape[1]
    near = round(NEAR * PX)
    products = products * np.tril(np.ones((width, width), np.float32), -near)
    product = _sums_over_diagonals(products if mirrored else products[:, :, ::-1])
    # Of all pairs at one distance the first lie side by side, and so do the second.
    place = np.arange(2 * width - 1)
    if mirrored:
        first = np.maximum((place + near + 1) // 2, place - width + 1)
        last = np.minimum(place, width - 1)
        other_first = place - last
    else:
        apart = place - width + 1
        first, last = np.where(apart >= near, apart, width), np.full_like(place, width - 1)
        other_first = first - apart
    count = np.maximum(last - first + 1, 0)
    one, other = _sums(energy, first, count), _sums(energy, other_first, count)
    shown = np.maximum(LEAST_SEEN * energy.mean(axis=1, keepdims=True), lines * LEAST_CONTRAST**2)
    enough = (np.minimum(one, other) >= shown * count) & (count >= LEAST_SHARE * width)
    correlation = product / np.sqrt(np.maximum(one * other, 1e-6))
    return np.asarray(np.where(enough, correlation, 0), np.float32)


def _sums(energy: Float32, first: Int64, count: Int64) -> Float32:
    """Sum so many columns of every band from the first on, float32 (B, N)."""
    sums = np.pad(energy.cumsum(axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    start = np.minimum(first, energy.shape[1])
    return np.asarray(
        sums[:, np.minimum(start + count, energy.shape[1])] - sums[:, start], np.float32
    )


def _sums_over_diagonals(planes: Float32) -> Float32:
    """Sum elements whose row and column add up to the same, (B, W, W): float32 (B, 2 W - 1)."""
    count, width, _ = planes.shape
    # A row that is one shorter than what was laid down begins one further on each time.
    wide = np.zeros((count, width, 2 * width), np.float32)
    wide[:, :, :width] = planes
    flat = wide.reshape(count, -1)[:, : width * (2 * width - 1)]
    return np.asarray(flat.reshape(count, width, 2 * width - 1).sum(axis=1), np.float32)
