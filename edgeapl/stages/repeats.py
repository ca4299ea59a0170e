"""Parts of a frame that were there before: elsewhere in it, or in an earlier frame of the slide.

A buffer that is read too early, a lost packet or a torn file leaves an old picture beside a new
one. It looks perfect, and only its being exactly alike gives it away: noise never comes twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.tiling import SMALLEST_TILE_PX, Bool, Sampled, places
from edgeapl.types import UInt8

UInt64 = NDArray[np.uint64]

LINE_SAMPLES = 8
"""Pixels of each line of a tile that are compared."""

COPIED_SHARE = 0.8
"""A tile is a copy when so many of its lines are found again at one and the same distance. In 561
real frames of seven sets there is no such tile."""

GRAIN = 0.5
"""Share of pixels that are as the one beside them, in ground without grain."""

LEAST_STEP = SMALLEST_TILE_PX
"""Lines nearer than this are alike where a picture was enlarged, or its lines were doubled."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What the tiles of a frame show. before : bool (R, C), an earlier frame had it there, too."""

    sampled: Sampled
    before: Bool


def copied_tiles(pixels: UInt8, grid: tuple[int, int]) -> Bool:
    """Tell tiles that stand elsewhere in the frame, too, moved up, down or aside, bool (R, C).

    pixels : uint8 (H, W, 3) RGB. Nobody knows which of the two is the picture, so both are told.
    """
    rows, columns = grid
    down = np.take(pixels, places(pixels.shape[1], columns, LINE_SAMPLES), axis=1)
    across = np.take(pixels, places(pixels.shape[0], rows, LINE_SAMPLES), axis=0)
    across = np.ascontiguousarray(across.swapaxes(0, 1))
    return _copied(down, columns, rows) | _copied(across, rows, columns).T


def tile_prints(sampled: Sampled) -> UInt64:
    """Give a number for what every tile shows, uint64 (R, C)."""
    packed = sampled.packed
    flat = packed.reshape(*packed.shape[:2], -1).view(np.uint32).astype(np.uint64)
    return np.asarray(flat @ _weights(flat.shape[2]), np.uint64)


def has_grain(sampled: Sampled) -> Bool:
    """Tell tiles in which most pixels differ from the one beside, bool (R, C): noise alone does.

    Ground without grain may be exactly alike in two frames.
    """
    alike = (sampled.colours[1] == sampled.beside).mean(axis=(2, 3))
    return np.asarray(alike < GRAIN, dtype=bool)


def _copied(lines: UInt8, parts: int, tiles: int) -> Bool:
    """Tell which tiles along the lines are copies, bool (tiles, parts).

    lines : uint8 (L, parts * S, 3), S pixels of each line of a tile.
    """
    count, samples = len(lines), lines.shape[1] // parts
    found = np.zeros((tiles, parts), dtype=bool)
    pixels = lines.reshape(count, parts, samples, 3)
    prints = _prints(pixels)
    ordered = np.sort(prints, axis=0)
    if not (ordered[1:] == ordered[:-1]).any():
        return found
    order = np.argsort(prints, axis=0, kind="stable")
    ordered = np.take_along_axis(prints, order, 0)
    steps = np.diff(order, axis=0)
    alike = (ordered[1:] == ordered[:-1]) & (steps >= LEAST_STEP)
    where, part = np.nonzero(alike)
    some = pixels[order[where, part], part]
    varied = (some != some[:, :1]).any(axis=(1, 2))
    where, part = where[varied], part[varied]
    if not len(where):
        return found
    step = steps[where, part]
    length = np.bincount(np.arange(count) * tiles // count, minlength=tiles)
    for line in (order[where, part], order[where + 1, part]):
        keys = ((line * tiles // count) * parts + part) * count + step
        kinds, hits = np.unique(keys, return_counts=True)
        tile, place = np.divmod(kinds // count, parts)
        enough = hits >= COPIED_SHARE * length[tile]
        found[tile[enough], place[enough]] = True
    return found


def _prints(pixels: UInt8) -> UInt64:
    """Give a number for the pixels of every line of a tile, uint8 (L, P, S, 3): uint64 (L, P)."""
    lines, parts, samples, _ = pixels.shape
    packed = pixels.reshape(lines, parts, 3 * samples)
    if 3 * samples % 8:
        packed = np.pad(packed, ((0, 0), (0, 0), (0, -3 * samples % 8)))
    words = packed.view(np.uint64)
    prints = words[..., 0] * _weights(1)[0]
    for number, weight in enumerate(_weights(words.shape[2])[1:], 1):
        prints = (prints ^ (prints >> np.uint64(29))) * weight + words[..., number]
    return np.asarray(prints, np.uint64)


def _weights(count: int) -> UInt64:
    """Odd numbers of 64 bits; sums of products with them differ where a pixel does."""
    random = np.random.default_rng(0)
    return random.integers(0, 2**63, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
