"""The overview of a scan: what was examined, what was not, and the cells on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import cv2
import numpy as np

from edgeapl.types import Float32, UInt8
from edgeapl.whole_slide.smear import Grid, Overview

Colour = tuple[int, int, int]


class TileFate(Enum):
    """The fate of a selected tile, and its colour: everybody can tell blue from orange."""

    EXAMINED = (0, 90, 181)
    UNUSABLE = (220, 110, 0)
    NOT_LOOKED_AT = (140, 140, 140)


CELL: Colour = (20, 20, 20)
SUSPICIOUS: Colour = (200, 0, 60)

_WORDS = {
    TileFate.EXAMINED: "examined",
    TileFate.UNUSABLE: "could not be used",
    TileFate.NOT_LOOKED_AT: "monolayer, not looked at",
}

_LEGEND_PX = 34


def draw_overview(
    overview: Overview,
    grid: Grid,
    tiles: Sequence[tuple[int, int]],
    fates: Mapping[int, TileFate],
    cells: Float32,
    suspicious: np.ndarray,
) -> UInt8:
    """Draw a scan's overview, uint8 (H, W, 3) RGB, with a legend below.

    Parameters
    ----------
    tiles, fates : row and column of the selected tiles, and their fates by number.
    cells : float32 (N, 2), x y of cells, px of level 0. suspicious : bool (N,).
    """
    picture = overview.pixels.copy()
    side = grid.side / overview.shrink
    for number, tile in enumerate(tiles):
        x, y = (value / overview.shrink for value in grid.place(*tile))
        fate = fates.get(number, TileFate.NOT_LOOKED_AT)
        thick = 1 if fate is TileFate.NOT_LOOKED_AT else 2
        corners = (round(x), round(y)), (round(x + side), round(y + side))
        cv2.rectangle(picture, *corners, fate.value, thick)
    for (x, y), doubt in sorted(
        zip((cells / overview.shrink).tolist(), suspicious.tolist(), strict=True),
        key=lambda one: one[1],
    ):
        at = round(x), round(y)
        cv2.circle(picture, at, 4 if doubt else 2, SUSPICIOUS if doubt else CELL, -1, cv2.LINE_AA)
    return _with_legend(picture)


def _with_legend(picture: UInt8) -> UInt8:
    width = max(picture.shape[1], 980)
    out = np.full((picture.shape[0] + _LEGEND_PX, width, 3), 255, np.uint8)
    out[: picture.shape[0], : picture.shape[1]] = picture
    y, x = picture.shape[0] + 22, 10
    entries = [(fate.value, word) for fate, word in _WORDS.items()]
    for colour, word in (*entries, (CELL, "cell"), (SUSPICIOUS, "suspicious cell")):
        cv2.rectangle(out, (x, y - 11), (x + 14, y + 3), colour, -1)
        cv2.putText(out, word, (x + 20, y), 0, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        x += 50 + 9 * len(word)
    cv2.putText(out, "research use only", (width - 160, y), 0, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return out
