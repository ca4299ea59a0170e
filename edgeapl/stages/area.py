"""The parts of a frame that can be examined, and the cells that lie elsewhere.

A frame that passes the gate may still be black, blurred or torn in part. It is judged tile by tile,
so that a slide is never cleared by parts that nobody could see.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgeapl.stages.cut_cell import is_cut
from edgeapl.stages.detail import detail_of
from edgeapl.stages.double_image import doubled_tiles
from edgeapl.stages.duplicated_regions import twin_tiles
from edgeapl.stages.registration import shifted_tiles
from edgeapl.stages.repeats import TileSample, copied_tiles, has_grain
from edgeapl.stages.smoothing import smoothed_tiles
from edgeapl.stages.tearing import torn_tiles
from edgeapl.stages.tile_focus import unfocused_tiles
from edgeapl.stages.tile_light import judge_light
from edgeapl.stages.tile_lines import Lines, lines_of
from edgeapl.stages.tiling import Bool, sample_tiles, tile_grid
from edgeapl.types import Detections, Tiles, TileState, UInt8

SMALLEST_FIELD_PX = 128
"""A smaller field shows too little to detect alterations."""

HIDDEN_SHARE, HIDDEN_SHARE_OF_IMAGE = 0.1, 0.2
"""A cell is not examined when a larger share of its box lies in tiles that were not; the box of an
image of one cell holds ground, too."""


def judge_tiles(
    pixels: UInt8,
    um_per_px: float,
    min_focus: float,
    outside: Bool | None = None,
    *,
    shown: TileSample | None = None,
) -> Tiles:
    """Judge the tiles of a frame.

    Parameters
    ----------
    pixels : uint8 (H, W, 3) RGB. um_per_px : its scale.
    min_focus : least focus measure of a whole frame, 1/µm; 0 for an image of one cell, which shows
        too little to judge its focus, or to detect alterations.
    outside : bool (R, C) as `edgeapl.stages.tiling.tile_grid` gives them: tiles that are no part
        of the field, and do not count.
    shown : of this frame, where those before it are known.
    """
    grid = tile_grid(*pixels.shape[:2])
    light = judge_light(sample_tiles(pixels, grid) if shown is None else shown.sampled, outside)
    lines = lines_of(pixels, grid)
    repeated = copied_tiles(lines)
    if shown is not None:
        repeated |= shown.before & (light.structured | has_grain(shown.sampled))
    is_field = min_focus > 0 and min(pixels.shape[:2]) >= SMALLEST_FIELD_PX
    if is_field:
        repeated |= twin_tiles(lines, outside)
    lost = {
        TileState.VEILED: light.veiled,
        TileState.NOISE: light.noise,
        TileState.COLOURLESS: light.colourless,
        TileState.OVEREXPOSED: light.overexposed,
        TileState.FROZEN: light.frozen | repeated,
        TileState.DARK: light.dark,
    }
    if outside is not None:
        lost[TileState.OUTSIDE] = outside
    judged = light.structured & ~np.any(list(lost.values()), axis=0)
    if min_focus > 0:
        soft = unfocused_tiles(pixels, um_per_px, min_focus, judged, light.level)
        altered = _altered(pixels, lines, judged, outside) if is_field else {}
        lost = {**altered, TileState.UNFOCUSED: soft, **lost}
    states = np.zeros(grid, np.uint8)
    for state, tiles in lost.items():
        states[tiles] = state.value
    return Tiles(states)


def _altered(
    pixels: UInt8, lines: Lines, judged: Bool, outside: Bool | None
) -> dict[TileState, Bool]:
    """Find tiles of a field that were assembled or altered after capture.

    judged : bool (R, C), tiles with something to see that have light and colours.
    outside : as in `judge_tiles`. What its rim shows is steeper than any cell.
    """
    if outside is not None:
        judged = judged & (cv2.dilate(outside.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
    return {
        TileState.DOUBLED: doubled_tiles(pixels, lines.grid, outside),
        TileState.SMOOTHED: smoothed_tiles(lines, judged),
        TileState.SHIFTED: shifted_tiles(lines, judged),
        TileState.TORN: torn_tiles(lines),
    }


def judge_cell_image(cell: Detections, min_detail: float | None) -> Tiles:
    """Judge an image of one cell: its tiles by their light, and the cell as a whole.

    Parameters
    ----------
    cell : one row, as `edgeapl.stages.whole_image.whole_crop` gives it.
    min_detail : least `edgeapl.stages.detail.detail_of`; None where that is not known.
    """
    pixels = cell.frame.pixels
    tiles = judge_tiles(pixels, cell.frame.um_per_px, 0.0)
    if min_detail is not None and not detail_of(pixels) >= min_detail:
        return Tiles(np.full_like(tiles.states, TileState.UNFOCUSED.value))
    if is_cut(cell):
        return Tiles(np.full_like(tiles.states, TileState.CUT.value))
    return tiles


def hidden_cells(detections: Detections, tiles: Tiles, allowed_share: float = HIDDEN_SHARE) -> Bool:
    """Tell which cells lie in tiles that were not examined, bool (N,).

    A cell at the rim of the field is not hidden: the tiles outside do not count.
    """
    seen = np.isin(tiles.states, (TileState.EXAMINED.value, TileState.OUTSIDE.value))
    lost = np.pad((~seen).astype(np.float64), ((1, 0), (1, 0)))
    if not len(detections) or not lost.any():
        return np.zeros(len(detections), dtype=bool)
    # Sums over all tiles above and to the left; between corners of tiles they are bilinear.
    sums = lost.cumsum(axis=0).cumsum(axis=1)
    rows, columns = tiles.states.shape
    frame = detections.frame
    x0, y0, x1, y1 = detections.boxes.astype(np.float64).T
    x0, x1 = x0 * columns / frame.width, x1 * columns / frame.width
    y0, y1 = y0 * rows / frame.height, y1 * rows / frame.height
    inside = _at(sums, y1, x1) - _at(sums, y0, x1) - _at(sums, y1, x0) + _at(sums, y0, x0)
    return np.asarray(inside > allowed_share * (x1 - x0) * (y1 - y0), dtype=bool)


def _at(sums: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Interpolate the sums between the corners of tiles."""
    top = np.minimum(down.astype(int), sums.shape[0] - 2)
    left = np.minimum(across.astype(int), sums.shape[1] - 2)
    y, x = down - top, across - left
    upper = sums[top, left] * (1 - x) + sums[top, left + 1] * x
    lower = sums[top + 1, left] * (1 - x) + sums[top + 1, left + 1] * x
    return np.asarray(upper * (1 - y) + lower * y)
