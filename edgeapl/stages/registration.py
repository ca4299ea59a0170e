"""Which tiles have colours that do not lie on each other.

All three colours see the same cells, so their slopes agree where there is something to see. Of a
colour that was read from another place they do not.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgeapl.stages.tile_lines import Lines, sums_by_tile
from edgeapl.stages.tiling import Bool, large_parts, over_neighbours, with_ground
from edgeapl.types import Float32, UInt8

REACH_PX = 4
"""Slopes are differences of means over so many px, side by side."""

AGREE, LEAST_AGREE, USUAL = 0.45, 0.2, 0.9
"""Slopes agree that are correlated by this share of what this quantile of the tiles has; and red
and green ones in no real tile by less than `LEAST_AGREE`."""

BLUE_AGREES, BLUE_USUAL = 0.8, 0.7
"""Blue is judged where it is correlated with green so highly in this quantile of the tiles: of
some stains what blue sees and what green sees differ."""

SHIFTED_PART = 0.05
"""Tiles that touch count from this share of the frame on."""


def shifted_tiles(lines: Lines, structured: Bool) -> Bool:
    """Tell tiles whose colours lie beside each other, bool (R, C). structured : as elsewhere."""
    if not structured.any():
        return np.zeros_like(structured)
    across, down = (_products(*some) for some in lines.both())
    red, green, blue, red_green, blue_green = (
        one + other.T for one, other in zip(across, down, strict=True)
    )
    red_agrees = _agreement(red_green, red * green, structured)
    blue_agrees = _agreement(blue_green, blue * green, structured)
    seen = red_agrees[structured]
    shifted = red_agrees < max(LEAST_AGREE, AGREE * float(np.quantile(seen, USUAL)))
    seen = blue_agrees[structured]
    if float(np.quantile(seen, BLUE_USUAL)) >= BLUE_AGREES:
        shifted |= blue_agrees < AGREE * float(np.quantile(seen, USUAL))
    return with_ground(large_parts(shifted & structured, SHIFTED_PART), structured)


def _products(lines: UInt8, beside: int, along: int) -> list[Float32]:
    """Sum squares of red, green and blue slopes, and red and blue ones by green, of every tile."""
    count = lines.shape[1] // REACH_PX
    means = cv2.resize(
        lines[:, : count * REACH_PX], (count, len(lines)), interpolation=cv2.INTER_AREA
    )
    red, green, blue = (
        cv2.subtract(one[:, 1:], one[:, :-1], dtype=cv2.CV_32F) for one in cv2.split(means)
    )
    pairs = ((red, red), (green, green), (blue, blue), (red, green), (blue, green))
    return [sums_by_tile(one * other, beside, along) for one, other in pairs]


def _agreement(product: Float32, squared: Float32, structured: Bool) -> Float32:
    """Return the mean correlation of slopes of every tile and its neighbours, float32 (R, C)."""
    # Not pooled before: one steep edge, of writing, say, is not to speak for all tiles around it.
    correlation = np.where(structured, product / np.sqrt(np.maximum(squared, 1e-6)), 0)
    count = np.maximum(over_neighbours(structured.astype(np.float32)), 1)
    return np.asarray(over_neighbours(correlation.astype(np.float32)) / count, np.float32)
