"""The tiles of a scan's monolayer as frames, best first."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeapl.closable import ClosesItself
from edgeapl.errors import EndOfSource, InputError
from edgeapl.sources.frames import remarks_on_size
from edgeapl.types import Frame, Remark, ScaleOrigin, UInt8
from edgeapl.whole_slide.pyramid import Pyramid
from edgeapl.whole_slide.smear import (
    Grid,
    Overview,
    chosen_tiles,
    grid_of,
    overview_of,
    scored_tiles,
    tissue_tiles,
)

TILE_PX = 1024
"""Side of a frame."""

GAP_UM = 25.0
"""Gap between two tiles: even the largest cell lies in one of them at most."""

MEASURED_TILES = 8
"""Parts of a scan on which its scale is measured if nobody states it."""

FEWEST_TISSUE, FEWEST_TILES = 12, 8
"""Fewest tiles with tissue, and of monolayer; a smear with fewer cannot be cleared."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame lies on its scan. x, y : px of level 0. shrink : px of level 0 per own px."""

    x: int
    y: int
    shrink: float


class WholeSlideSource(ClosesItself):
    """Implements FrameSource over a scan; its best frames come first.

    Parameters
    ----------
    pyramid : the scan; closed together with this source.
    digest : SHA-256 (hex) of the file.
    wanted_um_per_px : the bundle's own scale; frames are read no coarser than that if possible.
    stated : µm per px of level 0 if the user stated it.
    scale_for : measures a tile, if nobody stated the scale.

    Problems of the whole slide are raised as InputError by the first calls of `read`.
    """

    live = False

    def __init__(
        self,
        pyramid: Pyramid,
        digest: str,
        wanted_um_per_px: float,
        stated: float | None,
        scale_for: Callable[[UInt8], tuple[float, ScaleOrigin]],
    ) -> None:
        self.name = pyramid.name
        self._pyramid, self._digest, self._scale_for = pyramid, digest, scale_for
        self._stated = stated or pyramid.um_per_px
        self.overview: Overview = overview_of(pyramid)
        self._next = 0
        self.damaged: list[int] = []
        self._measured: float | None = None
        self._origin = ScaleOrigin.ASSUMED
        if self._stated is None:
            self._measure_ahead()
        um_per_px = self._stated or self._measured or wanted_um_per_px
        self._um_per_px = um_per_px
        self._level = pyramid.level_for(max(1.0, wanted_um_per_px / um_per_px))
        self._shrink = pyramid.levels[self._level].shrink
        side = round(TILE_PX * self._shrink)
        self.grid: Grid = grid_of(pyramid, side, round(GAP_UM / um_per_px))
        tissue = tissue_tiles(self.overview, self.grid)
        scores, damaged = scored_tiles(pyramid, self.grid, tissue, um_per_px, self.overview.glass)
        self.tissue = int(tissue.sum())
        self.tiles = chosen_tiles(scores)
        self._wrong = deque([*self._unfit(), *[*damaged, *self.overview.damaged][:1]])
        text = "tile of a whole slide; "
        if len(self.tiles) < self.tissue:
            text += f"{len(self.tiles)} of {self.tissue} tiles with tissue were chosen as "
            text += "monolayer, and the others were not looked at"
        else:
            text += f"all {self.tissue} tiles with tissue were chosen as monolayer"
        of_size = remarks_on_size(pyramid.size, stated)
        self._remarks = (Remark("whole_slide", text), *pyramid.remarks, *of_size)

    def _unfit(self) -> list[InputError]:
        if not self.grid.rows * self.grid.columns:
            size = f"{self._pyramid.width} x {self._pyramid.height}"
            what = f"scan is smaller than one tile ({size} px; a tile takes {self.grid.side})"
            return [InputError(what, self.name, "scan more of the smear, or state its scale")]
        if self.tissue < FEWEST_TISSUE:
            what = f"hardly anything is on the glass ({self.tissue} tiles with tissue)"
            return [InputError(what, self.name, "check the scan and the smear")]
        if len(self.tiles) < FEWEST_TILES:
            what = f"no monolayer was found ({len(self.tiles)} of {self.tissue} tiles)"
            mend = "red cells must lie apart: make another smear, or look at it"
            return [InputError(what, self.name, mend)]
        return []

    def place(self, index: int) -> Place:
        """Return where a frame lies."""
        return Place(*self.grid.place(*self.tiles[index]), self._shrink)

    def read(self, timeout_s: float) -> Frame:
        """Return the next tile. Raises InputError for a damaged one, EndOfSource at the end."""
        if self._wrong:
            raise self._wrong.popleft()
        if self._next >= len(self.tiles):
            raise EndOfSource
        index = self._next
        self._next += 1
        at = self.place(index)
        try:
            pixels = self._pyramid.read(self._level, at.x, at.y, TILE_PX, TILE_PX)
        except InputError:
            self.damaged.append(index)
            raise
        if self._stated is not None:
            um_per_px, origin = self._stated * self._shrink, ScaleOrigin.STATED
        else:
            um_per_px, origin = self._um_per_px * self._shrink, self._origin
        part = f"#{at.x},{at.y}"
        return Frame(
            pixels=pixels,
            index=index,
            captured_ns=time.monotonic_ns(),
            um_per_px=um_per_px,
            source=self.name + part,
            digest=hashlib.sha256(f"{self._digest}{part}".encode()).hexdigest(),
            scale=origin,
            remarks=self._remarks,
        )

    def _measure_ahead(self) -> None:
        """Measure the scale on full-resolution parts spread over the smear."""
        grid = grid_of(self._pyramid, TILE_PX, 0)
        places = np.argwhere(tissue_tiles(self.overview, grid))
        random = np.random.default_rng(0)
        for row, column in random.permutation(places)[:MEASURED_TILES].tolist():
            try:
                pixels = self._pyramid.read(0, *grid.place(row, column), TILE_PX, TILE_PX)
            except InputError:
                continue  # reported when the tiles are probed
            um_per_px, self._origin = self._scale_for(pixels)
            if self._origin is not ScaleOrigin.ASSUMED:
                self._measured = um_per_px

    def close(self) -> None:
        """Close the scan."""
        self._pyramid.close()
