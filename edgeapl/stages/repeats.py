"""Parts of a frame that were there before: elsewhere in it, or in an earlier frame of the slide.

A buffer that is read too early, a lost packet or a torn file leaves an old image beside a new
one. It looks perfect, and only its being exactly alike gives it away: noise never comes twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.tile_lines import Lines
from edgeapl.stages.tiling import SMALLEST_TILE_PX, Bool, Sampled
from edgeapl.types import UInt8

UInt64 = NDArray[np.uint64]

COPIED_SHARE = 0.8
"""A tile is a copy when so many of its lines are found again at one and the same distance. In 561
real frames of seven sets there is no such tile."""

GRAIN = 0.5
"""Share of pixels that are as the one beside them, in ground without grain."""

LEAST_STEP = SMALLEST_TILE_PX
"""Lines nearer than this are alike where an image was enlarged, or its lines were doubled."""


@dataclass(frozen=True, slots=True, eq=False)
class TileSample:
    """What the tiles of a frame show. before : bool (R, C), an earlier frame had it there, too."""

    sampled: Sampled
    before: Bool


def copied_tiles(lines: Lines) -> Bool:
    """Tell tiles that stand elsewhere in the frame, too, moved up, down or aside, bool (R, C).

    Nobody knows which of the two is the image, so both are told.
    """
    across, down = (_copied(*some) for some in lines.both())
    return across | down.T


def tile_prints(sampled: Sampled) -> UInt64:
    """Return a hash of what every tile shows, uint64 (R, C)."""
    packed = sampled.packed
    flat = packed.reshape(*packed.shape[:2], -1).view(np.uint32).astype(np.uint64)
    return np.asarray(flat @ _weights(flat.shape[2]), np.uint64)


def has_grain(sampled: Sampled) -> Bool:
    """Tell tiles in which most pixels differ from the one beside, bool (R, C): noise alone does.

    Ground without grain may be exactly alike in two frames.
    """
    alike = (sampled.colours[1] == sampled.beside).mean(axis=(2, 3))
    return np.asarray(alike < GRAIN, dtype=bool)


def _copied(lines: UInt8, beside: int, along: int) -> Bool:
    """Tell which tiles along the lines are copies, bool (beside, along).

    lines : uint8 (beside * L, N, 3). What the L lines of a tile show at one place is compared.
    """
    count = lines.shape[1]
    found = np.zeros((beside, along), dtype=bool)
    coloured = cv2.cvtColor(lines, cv2.COLOR_RGB2RGBA)
    packed = coloured.view(np.uint32)[..., 0].reshape(beside, -1, count)
    prints = np.einsum("bln,l->bn", packed.astype(np.uint64), _weights(packed.shape[1]))
    short = np.sort((prints >> np.uint64(32)).astype(np.uint32), axis=1)  # much faster to sort
    if not (short[:, 1:] == short[:, :-1]).any():
        return found
    order = np.argsort(prints, axis=1, kind="stable")
    ordered = np.take_along_axis(prints, order, 1)
    steps = np.diff(order, axis=1)
    part, where = np.nonzero((ordered[:, 1:] == ordered[:, :-1]) & (steps >= LEAST_STEP))
    some = packed[part, :, order[part, where]]
    varied = (some != some[:, :1]).any(axis=1)
    part, where = part[varied], where[varied]
    if not len(where):
        return found
    step = steps[part, where]
    length = np.bincount(np.arange(count) * along // count, minlength=along)
    for place in (order[part, where], order[part, where + 1]):
        keys = ((place * along // count) * beside + part) * count + step
        kinds, hits = np.unique(keys, return_counts=True)
        tile, row = np.divmod(kinds // count, beside)
        enough = hits >= COPIED_SHARE * length[tile]
        found[row[enough], tile[enough]] = True
    return found


def _weights(count: int) -> UInt64:
    """Odd numbers of 64 bits; sums of products with them differ where a pixel does."""
    random = np.random.default_rng(0)
    return random.integers(0, 2**63, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
