"""The tiles of a frame, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from edgeapl.types.arrays import UInt8, check_array, read_only


class TileState(int, Enum):
    """What became of one tile of a frame; all but EXAMINED keep a slide from being clear."""

    EXAMINED = 0
    DARK = 1  # black, or far darker than the rest of the frame
    OVEREXPOSED = 2
    FROZEN = 3  # constant, or rows, columns or a part that was there before: no image
    COLOURLESS = 4  # one or all colours are missing where there is something to see
    UNFOCUSED = 5
    NOISE = 6
    OUTSIDE = 7  # not part of the field, so it counts neither way
    CUT = 8  # of an image of one cell: the cell is not whole
    VEILED = 9  # all that is to be seen is far paler than in the rest of the frame
    TORN = 10  # put together of pieces, or of coarse pixels
    SMOOTHED = 11  # without the grain that the rest of the frame has
    SHIFTED = 12  # the colours do not lie on each other
    DOUBLED = 13  # two images, one upon the other

    @property
    def text(self) -> str:
        """Plain words that follow "so much of the field is"."""
        return _TILE_WORDS[self.value]


_TILE_WORDS = (
    "examined",
    "dark",
    "overexposed",
    "without a picture of its own (constant or repeated)",
    "without its colours",
    "out of focus or moved",
    "noise",
    "outside the field",
    "of cells cut by the edge of their image",
    "pale, as behind a veil (glare, oil or condensation)",
    "torn, or of coarse blocks",
    "smoothed, without fine detail",
    "with colours that do not lie on each other",
    "seen double",
)


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """A frame in R rows and C columns of tiles of one size, and what became of each.

    states : uint8 (R, C), values of `TileState`.
    """

    states: UInt8

    def __post_init__(self) -> None:
        check_array("Tiles.states", self.states, np.uint8, (None, None))
        if 0 in self.states.shape or int(self.states.max()) >= len(TileState):
            raise ValueError("Tiles.states: expected at least one tile, each a TileState")
        read_only(self.states)

    @property
    def examined_share(self) -> float:
        """Share of the field that was examined, 0 to 1."""
        return self.shares().get(TileState.EXAMINED, 0.0)

    def shares(self) -> dict[TileState, float]:
        """Return the share of the field in each state that occurs, 0 to 1."""
        counts = np.bincount(self.states.ravel(), minlength=len(TileState)).tolist()
        field_tiles = sum(counts) - counts[TileState.OUTSIDE.value]
        return {
            state: counts[state.value] / field_tiles
            for state in TileState
            if counts[state.value] and state is not TileState.OUTSIDE
        }
