"""Which tiles of a frame are out of focus; measured as the focus of a frame is, tile by tile."""

from __future__ import annotations

import cv2
import numpy as np

from edgeapl.stages.focus import LITTLE_PX, MORE_PX, WORKING_UM_PER_PX, sigma_px
from edgeapl.stages.tiling import Bool, over_neighbours
from edgeapl.types import Float32, UInt8

PATCH_PX, MARGIN_PX = 40, 6
"""Side of the middle of a tile that is looked at, at the working scale, and how far around it the
blurs reach."""

PLAIN = 0.3
"""Up to this quantile of the slopes there is only noise."""

BLURRED = 1.6
"""A tile's edges may be so much wider than the widest a whole frame may have."""

FAR_BLURRED, LEAST_BLUR_UM = 2.1, 0.5
"""Edges are too wide that are so much wider than those of the sharpest quarter of the tiles, and
wider than this at all. Sharp real frames differ within themselves by up to 2.0."""

WHOLE_FROM = 3
"""From so many px of the frame on for one at the working scale a whole number of them is taken: a
sixth off the scale at the most, at a quarter of the time."""

WIDEST_PX = 100.0
"""Stands for edges that have no width at all, because there are none."""

REACH, BESIDE = 2, 3
"""Tiles from a blurred part that its rim is looked for in, and how many blurred ones lie beside one
of the rim."""

DARKER = 0.8
"""A tile with nothing to see, nor any beside it, is empty ground when it is as bright as this
share of the brightest; else what it shows is blurred away."""


def unfocused_tiles(
    pixels: UInt8, um_per_px: float, min_focus: float, judged: Bool, level: UInt8
) -> Bool:
    """Tell which tiles are out of focus, bool (R, C).

    Parameters
    ----------
    pixels : uint8 (H, W, 3) RGB. um_per_px : its scale.
    min_focus : least focus measure of a whole frame, 1/µm.
    judged : bool (R, C), tiles with something to see that have light and colours.
    level : uint8 (R, C), how bright each tile is.

    Edges are pooled over each tile and its neighbours. Empty ground has no focus: a tile without
    structure is as its neighbours are; where these have none either it passes if it is bright.
    """
    if not judged.any():
        return np.zeros_like(judged)
    own, widths = _edge_widths(pixels, um_per_px, judged)
    sharp = float(np.quantile(widths[judged], 0.25))
    limit = min(BLURRED / min_focus, max(FAR_BLURRED * sharp, LEAST_BLUR_UM))
    soft = judged & (widths > limit)
    for _ in range(REACH):  # at its rim the neighbours are sharp, and the tile speaks for itself
        beside = over_neighbours(soft.astype(np.float32)) >= BESIDE
        soft |= judged & beside & (own > limit)
    neighbours, soft_neighbours = (
        over_neighbours(one.astype(np.float32)) for one in (judged, soft)
    )
    ground = level >= DARKER * float(np.quantile(level, 0.9))
    alone = (neighbours == 0) & ~ground
    return np.asarray(soft | (~judged & ((soft_neighbours > neighbours / 2) | alone)), dtype=bool)


def _edge_widths(pixels: UInt8, um_per_px: float, judged: Bool) -> tuple[Float32, Float32]:
    """Sigma of the edges of every tile, and of it with its neighbours, in µm, float32 (R, C)."""
    mosaic, margin, working = _mosaic(pixels, um_per_px, judged.shape)
    fine, coarse = (_squared_slopes(mosaic, sigma) for sigma in (LITTLE_PX, MORE_PX))
    some = np.s_[::5, ::3]
    plain = coarse[some] <= np.quantile(coarse[some], PLAIN)
    # What is found on plain ground is noise, and the edges carry as much of it.
    noise_fine, noise_coarse = (float(one[some][plain].mean()) for one in (fine, coarse))
    # Weighted by their own steepness edges count and ground does not, however weak they are.
    total = _tile_sums(coarse, judged.shape, margin)
    little = _tile_sums(coarse * fine, judged.shape, margin) - noise_fine * total
    more = _tile_sums(coarse * coarse, judged.shape, margin) - noise_coarse * total
    weight = np.where(judged, 1 / np.sqrt(np.maximum(more, 1e-6)), 0).astype(np.float32)
    pooled = over_neighbours(little * weight), over_neighbours(more * weight)
    return _sigma_um((little, more), working), _sigma_um(pooled, working)


def _sigma_um(slopes: tuple[Float32, Float32], working: float) -> Float32:
    """Sigma of the edges from their squared slopes, less and more blurred, float32 (R, C)."""
    ratio = slopes[0] / np.maximum(slopes[1], 1e-6)
    return (
        np.array(
            [[min(WIDEST_PX, sigma_px(one)) for one in row] for row in ratio.tolist()], np.float32
        )
        * working
    )


def _mosaic(pixels: UInt8, um_per_px: float, grid: tuple[int, ...]) -> tuple[UInt8, int, float]:
    """Return green at a working scale, the width of its tiles' unusable borders, px, and the scale.

    Tiles are all of one size. Of large ones only the middles are taken, laid side by side.
    """
    rows, columns = grid
    height, width = pixels.shape[:2]
    working = max(WORKING_UM_PER_PX, um_per_px)
    shrink = um_per_px / working
    tall, wide = height / rows, width / columns
    if min(tall, wide) * shrink <= PATCH_PX + 2 * MARGIN_PX:
        size = (columns * max(2, round(wide * shrink)), rows * max(2, round(tall * shrink)))
        green = cv2.extractChannel(pixels, 1)
        small = cv2.resize(green, size, interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8), 0, working
    side = PATCH_PX + 2 * MARGIN_PX
    taken, whole = round(side / shrink), round(1 / shrink)
    if whole >= WHOLE_FROM and whole * side <= min(tall, wide):
        taken, working = whole * side, whole * um_per_px
    mosaic = np.empty((rows * side, columns * side), np.uint8)
    for row in range(rows):
        top = round((row + 0.5) * tall - taken / 2)
        for column in range(columns):
            left = round((column + 0.5) * wide - taken / 2)
            patch = pixels[top : top + taken, left : left + taken]
            green = cv2.extractChannel(patch, 1)
            if taken != side:
                green = cv2.resize(green, (side, side), interpolation=cv2.INTER_AREA)
            mosaic[row * side : (row + 1) * side, column * side : (column + 1) * side] = green
    return mosaic, MARGIN_PX, working


def _squared_slopes(plane: UInt8, sigma: float) -> Float32:
    """Squared slopes after blur by sigma px, float32 (H, W)."""
    smooth = cv2.GaussianBlur(plane.astype(np.float32), (0, 0), sigma)
    across, down = (
        np.asarray(cv2.Sobel(smooth, cv2.CV_32F, *way), np.float32) for way in ((1, 0), (0, 1))
    )
    across *= across
    down *= down
    across += down
    return across


def _tile_sums(plane: Float32, grid: tuple[int, ...], margin: int) -> Float32:
    """Sum over every tile without its margin, float32 (R, C)."""
    rows, columns = grid
    tall, wide = plane.shape[0] // rows, plane.shape[1] // columns
    inside = plane.reshape(rows, tall, columns, wide)
    inside = inside[:, margin : tall - margin, :, margin : wide - margin]
    return np.asarray(np.einsum("abcd->ac", inside), np.float32)
