"""Finds where on a scan the smear is, and where its cells lie in one layer.

A smear has a thick end, where red cells overlap, and a feathered edge, where few are left and those
are torn. Between them is the monolayer: single red cells that do not touch and cover a third to a
half of the glass. Each tile is probed at about 1 µm per px, where a red cell is a blob of 7 px.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import InputError
from edgeapl.types import Float32, UInt8
from edgeapl.whole_slide.pyramid import Pyramid

OVERVIEW_PX = 2048
"""Longer side of the overview."""

GLASS_QUANTILE = 0.98
"""Share of the overview that may be darker than the empty glass."""

TISSUE = 0.015
"""Mean green optical density from which a tile counts as tissue."""

PROBE_UM_PER_PX = 1.0

STAINED = 0.05
"""Green optical density from which a pixel is not glass."""

SINGLE_UM2 = (18.0, 75.0)
"""Area of one red cell: lying flat it covers 40 µm²; two that touch are larger."""

COVERED = (0.1, 0.22, 0.6, 0.8)
"""Share of the glass covered by cells: too little up to the first, right from the second to the
third, too much from the fourth."""

LEAST_SCORE = 0.25
"""Score from which a tile belongs to the monolayer; 1 if single red cells cover the glass well."""

APART, TOUCHING = 0.3, 0.5
"""Share of the stained area in single red cells that gives the full score, and the score without
any: at this scale touching cells merge into one blob, in many good fields too."""

PIECE_PX = 256
"""Side of the pieces in which a damaged part of the overview is read, so that little is lost."""

PARTS, WORST = 3, 0.2
"""A tile is judged in this many parts along each side, and by this quantile of them: one that
reaches into the thick end is not monolayer, however good the rest is."""

TORN = 0.35
"""Largest share of the stained area in blobs smaller than a red cell: more is debris."""


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """A scan made small.

    pixels : uint8 (h, w, 3) RGB; white where the scan is damaged. shrink : px of level 0 per px of
    it. glass : float32 (3,), its colour. damaged : why parts could not be read.
    """

    pixels: UInt8
    shrink: float
    glass: Float32
    damaged: tuple[InputError, ...] = ()


@dataclass(frozen=True, slots=True)
class Grid:
    """Tiles on a scan, `step` apart; all in px of level 0, so that no cell lies in two.

    side : of a tile. rows, columns : how many.
    """

    side: int
    step: int
    rows: int
    columns: int

    def place(self, row: int, column: int) -> tuple[int, int]:
        """Return x and y of a tile's corner."""
        return column * self.step, row * self.step


def overview_of(pyramid: Pyramid) -> Overview:
    """Read a scan as one small picture. Raises InputError when nothing of it can be read."""
    wanted = max(1.0, max(pyramid.width, pyramid.height) / OVERVIEW_PX)
    number = pyramid.level_for(wanted)
    level = pyramid.levels[number]
    size = (max(1, round(pyramid.width / wanted)), max(1, round(pyramid.height / wanted)))
    small = np.empty((size[1], size[0], 3), np.uint8)
    # In bands: without small levels the whole scan would not fit in memory.
    band = max(1, int(4_000_000 / level.width * level.shrink / wanted))
    damaged: list[InputError] = []
    bands = 0
    for top in range(0, size[1], band):
        bottom = min(size[1], top + band)
        y, high = round(top * wanted), max(1, round((bottom - top) * wanted / level.shrink))
        try:
            part = pyramid.read(number, 0, y, level.width, high)
        except InputError:
            part, wrong, all_lost = _readable(pyramid, number, y, high)
            damaged += wrong
            bands += all_lost
        shape = (size[0], bottom - top)
        small[top:bottom] = cv2.resize(part, shape, interpolation=cv2.INTER_AREA)
    if bands == len(range(0, size[1], band)):
        raise damaged[0]
    glass = np.quantile(small.reshape(-1, 3)[::7], GLASS_QUANTILE, axis=0)
    return Overview(small, wanted, np.maximum(glass, 32).astype(np.float32), tuple(damaged))


def _readable(
    pyramid: Pyramid, number: int, y: int, high: int
) -> tuple[UInt8, list[InputError], bool]:
    """Read a band of a level piece by piece: the band, the errors, and whether all is lost."""
    level = pyramid.levels[number]
    band = np.full((high, level.width, 3), 255, np.uint8)
    errors: list[InputError] = []
    pieces = 0
    for top in range(0, high, PIECE_PX):
        for left in range(0, level.width, PIECE_PX):
            wide, tall = min(PIECE_PX, level.width - left), min(PIECE_PX, high - top)
            x, below = round(left * level.shrink), y + round(top * level.shrink)
            pieces += 1
            try:
                piece = pyramid.read(number, x, below, wide, tall)
            except InputError as error:
                errors.append(error)
            else:
                band[top : top + tall, left : left + wide] = piece
    return band, errors, len(errors) == pieces


def grid_of(pyramid: Pyramid, side: int, gap: int) -> Grid:
    """Lay tiles over a scan. side, gap : px of level 0."""
    step = side + gap
    rows = max(0, (pyramid.height - side) // step + 1)
    columns = max(0, (pyramid.width - side) // step + 1)
    return Grid(side, step, rows, columns)


def tissue_tiles(overview: Overview, grid: Grid) -> NDArray[np.bool_]:
    """Return which tiles have tissue, bool (R, C)."""
    dense = _density(overview.pixels, overview.glass)
    found = np.zeros((grid.rows, grid.columns), dtype=bool)
    side = max(1, round(grid.side / overview.shrink))
    for row in range(grid.rows):
        top = round(row * grid.step / overview.shrink)
        for column in range(grid.columns):
            left = round(column * grid.step / overview.shrink)
            found[row, column] = dense[top : top + side, left : left + side].mean() > TISSUE
    return found


def probe(
    pyramid: Pyramid, grid: Grid, at: tuple[int, int], um_per_px: float, glass: Float32
) -> float:
    """Return how much a tile is like a monolayer, 0 to 1. Raises InputError if it is damaged."""
    shrink = max(1.0, PROBE_UM_PER_PX / um_per_px)
    number = pyramid.level_for(shrink)
    level = pyramid.levels[number]
    side = max(8, round(grid.side / level.shrink))
    pixels = pyramid.read(number, *grid.place(*at), side, side)
    size = max(8, round(grid.side / shrink))
    small = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
    return monolayer_score(np.asarray(small, np.uint8), glass, um_per_px * shrink)


def monolayer_score(pixels: UInt8, glass: Float32, um_per_px: float) -> float:
    """Return how much a tile, uint8 (H, W, 3) RGB, is like a monolayer, 0 to 1."""
    parts = [
        _monolayer_score(part, glass, um_per_px)
        for band in np.array_split(pixels, PARTS)
        for part in np.array_split(band, PARTS, axis=1)
    ]
    return float(np.quantile(parts, WORST))


def _monolayer_score(pixels: UInt8, glass: Float32, um_per_px: float) -> float:
    stained = (_density(pixels, glass) > STAINED).astype(np.uint8)
    covered = float(stained.mean())
    fits = float(np.interp(covered, COVERED, (0, 1, 1, 0)))
    if not fits:
        return 0.0
    filled = cv2.morphologyEx(stained, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    filled = _without_holes(np.asarray(filled, np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(filled, connectivity=4)
    areas = stats[1:, cv2.CC_STAT_AREA] * um_per_px**2
    total = float(areas.sum())
    low, high = SINGLE_UM2
    if not total or float(areas[areas < low].sum()) > TORN * total:
        return 0.0
    single = float(areas[(areas >= low) & (areas <= high)].sum()) / total
    return fits * (TOUCHING + (1 - TOUCHING) * min(1.0, single / APART))


def chosen_tiles(scores: Float32) -> list[tuple[int, int]]:
    """Return the tiles of the monolayer, best first: rows and columns of float32 (R, C).

    A single good tile is chance: its neighbours count as much as the tile itself. A scan smaller
    than one tile has none.
    """
    if not scores.size:
        return []
    known = (scores >= 0).astype(np.float32)
    around = cv2.blur(np.maximum(scores, 0), (3, 3)) / np.maximum(cv2.blur(known, (3, 3)), 1e-6)
    both = np.where(scores >= LEAST_SCORE, (scores + around) / 2, 0)
    rows, columns = np.nonzero(both >= LEAST_SCORE)
    order = np.argsort(-both[rows, columns], kind="stable")
    return [(int(rows[one]), int(columns[one])) for one in order]


def scored_tiles(
    pyramid: Pyramid, grid: Grid, tissue: NDArray[np.bool_], um_per_px: float, glass: Float32
) -> tuple[Float32, list[InputError]]:
    """Probe all tiles with tissue: float32 (R, C), -1 where there is none, and the errors."""
    scores = np.full(tissue.shape, -1, dtype=np.float32)
    damaged: list[InputError] = []
    for row, column in zip(*np.nonzero(tissue), strict=True):
        at = int(row), int(column)
        try:
            scores[at] = probe(pyramid, grid, at, um_per_px, glass)
        except InputError as error:
            scores[at] = 0
            damaged.append(error)
    return scores, damaged


def _density(pixels: UInt8, glass: Float32) -> Float32:
    green = np.log10((glass[1] + 1) / (pixels[..., 1].astype(np.float32) + 1))
    return np.asarray(green, np.float32)


def _without_holes(mask: UInt8) -> UInt8:
    """Fill the pale centre of red cells."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    small = [one for one in outlines if cv2.contourArea(one) < 30]
    return np.asarray(cv2.drawContours(mask.copy(), small, -1, 1, cv2.FILLED), np.uint8)
