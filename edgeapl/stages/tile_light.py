"""Which tiles of a frame hold no image: dark, overexposed, constant, colourless, veiled, noise.

The limits were measured on the 553 frames of seven real sets that pass the gate, as
`tests/data/measure_area.py` takes them; the figures stand beside each.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.tiling import Bool, Sampled, large_parts
from edgeapl.types import Int32, UInt8

DIM = 0.45
"""Brightness of a tile relative to the brightest tiles; real tiles reach 0.56, a nucleus filling
one included."""

BLACK, BLACK_SHARE = 16, 0.1
"""Share of pixels below a grey value; the most in a real tile was 0.03."""

CLIPPED, CLIPPED_SHARE = 254, 0.4
"""Share of pixels clipped in all three colours; in no real tile any."""

CONSTANT_SHARE = 0.9
"""Share of pixels that are exactly alike; 0.83 in a telephone's denoised ground, else 0.14."""

CONSTANT_LINES = 0.25
"""Share of rows or columns without any change; at most 0.19."""

REPEATED_LINES = 0.85
"""Share of rows or columns that are exactly the one before; at most 0.68."""

GROUND_SHARE, GROUND_TILES = 0.03, 0.5
"""A constant tile is plain ground when so much of so many of the other tiles has its colour."""

GROUND_LEVEL, GROUND_NEAR, SMOOTH = 0.9, 8, 0.5
"""Ground is so bright, in green, relative to the brightest tiles; its colour may differ by so many
grey values; and it is without grain where so many pixels are exactly as the one beside them."""

LOST_GREY, LOST_SHARE = 128, 0.05
"""Exact grey that JPEG decoders leave where a block was lost; in no real tile any."""

_LOST = int(np.array([LOST_GREY, LOST_GREY, LOST_GREY, 255], np.uint8).view(np.int32)[0])

MOST_GROUNDS = 8
"""Colours that plain ground is looked for in."""

COLOURLESS = 6
"""Largest less smallest colour, 95th percentile of a tile with something to see; real ones 9."""

NO_CHANNEL = 16
"""Grey value that each colour must reach in a tile; real ones reach 31."""

LEAST_CONTRAST, CONTRAST_SHARE = 12, 0.35
"""Something is to be seen in a tile whose green spreads so far, in grey values and as a share of
the spread of the whole frame."""

VEILED_CONTRAST, VEILED_SPREAD, VEILED_NOISE, VEILED_PART = 0.45, 0.06, 4.5, 0.15
"""A part is veiled where no tile nor any beside it has so much of the contrast that tiles with
something to see have, and yet what they show spreads by so much of the frame's and by so many times
their noise; and where it is so large a share of the frame. Empty ground has noise alone."""

VEILED_DEPTH = 0.16
"""And where nothing is darker than the ground by so much of it: red cells without a veil are, so
that those beside many nuclei do not pass for pale."""

NOISE_SHARE = 0.25
"""Mean difference of neighbouring pixels relative to a tile's spread: noise has 0.33."""


@dataclass(frozen=True, slots=True, eq=False)
class TileLight:
    """What the light tells about every tile, each bool (R, C).

    structured : there is something to see. level : median of the brightest colour, uint8 (R, C).
    """

    dark: Bool
    overexposed: Bool
    frozen: Bool
    colourless: Bool
    noise: Bool
    veiled: Bool
    structured: Bool
    level: UInt8


def judge_light(sampled: Sampled, outside: Bool | None = None) -> TileLight:
    """Judge the light of every tile. outside : bool (R, C), tiles that are no part of the field."""
    red, green, blue = sampled.colours
    brightest = np.maximum(np.maximum(red, green), blue)
    darkest = np.minimum(np.minimum(red, green), blue)
    bright, ordered = _ordered(brightest), [_ordered(plane) for plane in sampled.colours]
    high = _quantile(bright, 0.9).astype(np.float64)
    dark = (high < DIM * np.quantile(high, 0.9)) | (_quantile(bright, BLACK_SHARE) < BLACK)
    spread = _spread(ordered[1])
    structured = spread >= max(LEAST_CONTRAST, CONTRAST_SHARE * _spread_of_all(green))
    frozen = _frozen(sampled)
    if frozen.any():
        frozen &= ~_smooth_ground(sampled, ordered, frozen)
    colourless = _colourless(sampled, _ordered(brightest - darkest), ordered)
    lacking = structured & colourless
    without = np.min([_quantile(plane, 0.9) for plane in ordered], axis=0) < NO_CHANNEL
    return TileLight(
        dark=dark,
        overexposed=_quantile(_ordered(darkest), 1 - CLIPPED_SHARE) >= CLIPPED,
        frozen=frozen,
        colourless=(lacking | (without & ~dark)) & ~frozen,
        noise=structured & _is_noise(sampled, spread),
        veiled=_veiled(sampled, ordered[1], structured, outside),
        structured=structured,
        level=_quantile(bright, 0.5),
    )


def _ordered(plane: UInt8) -> UInt8:
    """Sort the pixels of every tile: uint8 (R, C, S * S')."""
    # Numbers of 32 bits are sorted ten times as fast.
    flat = plane.reshape(*plane.shape[:2], -1).astype(np.int32)
    flat.sort(axis=2)
    return flat.astype(np.uint8)


def _quantile(ordered: UInt8, share: float) -> UInt8:
    """Return a quantile of sorted pixels, uint8 (R, C)."""
    return ordered[..., min(ordered.shape[2] - 1, int(share * ordered.shape[2]))]


def _spread(ordered: UInt8) -> NDArray[np.int64]:
    return _quantile(ordered, 0.95).astype(np.int64) - _quantile(ordered, 0.05)


def _spread_of_all(green: UInt8) -> float:
    low, high = np.quantile(green.ravel()[::5], [0.05, 0.95])
    return float(high - low)


def _frozen(sampled: Sampled) -> Bool:
    """Tell tiles that are constant or repeat one line, save for ground that has no noise at all."""
    packed = sampled.packed
    flat = packed.reshape(*packed.shape[:2], -1)
    # Where more than half of the pixels are alike, the middle one of the sorted is one of these.
    middle = np.sort(flat, axis=2)[..., flat.shape[2] // 2]
    constant = (flat == middle[..., None]).mean(axis=2) > CONSTANT_SHARE
    ground = _plain_ground(flat, middle, constant)
    frozen = (constant & ~np.isin(middle, ground)) | ((flat == _LOST).mean(axis=2) > LOST_SHARE)
    for axis in (2, 3):
        if packed.shape[axis] > 1:
            frozen |= _lines_without_image(packed, axis, ground)
    return np.asarray(frozen, dtype=bool)


def _lines_without_image(packed: Int32, axis: int, ground: Int32) -> Bool:
    """Tell tiles with too many lines along this axis that are constant, or as the line before."""
    least = packed.min(axis=axis)
    constant = packed.max(axis=axis) == least
    if len(ground):
        constant &= ~np.isin(least, ground)
    moved = np.moveaxis(packed, axis, 3)
    alike = (moved[:, :, 1:] == moved[:, :, :-1]).all(axis=3)
    if len(ground):
        alike &= ~(moved[:, :, 1:].min(axis=3) == moved[:, :, 1:].max(axis=3))
    tiles = constant.mean(axis=2) > CONSTANT_LINES
    if alike.shape[2]:
        tiles |= alike.mean(axis=2) > REPEATED_LINES
    return np.asarray(tiles, dtype=bool)


def _plain_ground(flat: Int32, middle: Int32, constant: Bool) -> Int32:
    """Return the colours of constant tiles that most of the other tiles show as well.

    A ground without any noise is drawn, denoised or clipped everywhere alike; a part that was
    overwritten has a colour of its own.
    """
    if not constant.any() or constant.all():
        return middle[:0, 0]
    others = flat[~constant]
    colours = np.unique(middle[constant])[:MOST_GROUNDS]
    shown = [((others == colour).mean(axis=1) > GROUND_SHARE).mean() for colour in colours]
    return np.asarray(colours[np.array(shown) >= GROUND_TILES])


def _smooth_ground(sampled: Sampled, ordered: list[UInt8], frozen: Bool) -> Bool:
    """Tell tiles that are as bright as the ground of the others, where that has no grain either.

    Strong compression leaves the empty ground in flat patches of nearly one colour.
    """
    middle = np.stack([_quantile(plane, 0.5) for plane in ordered]).astype(np.int64)
    bright = middle[1] >= GROUND_LEVEL * np.quantile(middle[1], 0.9)
    others = bright & ~frozen
    if not others.any():
        return np.zeros_like(frozen)
    alike = (sampled.colours[1] == sampled.beside).mean(axis=(2, 3))
    if not np.median(alike[others]) > SMOOTH:
        return np.zeros_like(frozen)
    ground = np.median(middle[:, others], axis=1)
    near = (np.abs(middle - ground[:, None, None]) <= GROUND_NEAR).all(axis=0)
    return np.asarray(bright & near, dtype=bool)


def _colourless(sampled: Sampled, difference: UInt8, ordered: list[UInt8]) -> Bool:
    """Tell tiles that are grey, or in which a colour never changes or is a copy of another."""
    lacking = _quantile(difference, 0.95) < COLOURLESS
    for one in range(3):
        lacking |= _spread(ordered[one]) == 0
        alike = sampled.colours[one] == sampled.colours[one - 1]
        lacking |= alike.mean(axis=(2, 3)) > CONSTANT_SHARE
    return np.asarray(lacking, dtype=bool)


def _is_noise(sampled: Sampled, spread: NDArray[np.int64]) -> Bool:
    """Tell tiles in which a pixel says nothing about its neighbour."""
    change = np.abs(sampled.colours[1].astype(np.int16) - sampled.beside).mean(axis=(2, 3))
    return np.asarray(change > NOISE_SHARE * spread, dtype=bool)


def _unshaded_spread(green: UInt8) -> NDArray[np.float64]:
    """Spread of every tile without the light and shade that runs across it, float64 (R, C)."""
    values = green - green.mean(axis=(2, 3), keepdims=True)
    for axis in (2, 3):
        shape = [1] * 4
        shape[axis] = values.shape[axis]
        way = np.linspace(-1, 1, values.shape[axis]).reshape(shape)
        slope = (values * way).mean(axis=(2, 3), keepdims=True) / max(
            float((way * way).mean()), 1e-6
        )
        values = values - slope * way
    low, high = np.quantile(values.reshape(*values.shape[:2], -1), [0.05, 0.95], axis=2)
    return np.asarray(high - low)


def _veiled(sampled: Sampled, green: UInt8, structured: Bool, outside: Bool | None) -> Bool:
    """Tell tiles of a large part in which all that is to be seen is pale, as behind a veil."""
    # All but the rarest pixels: the rim of one cell is as steep as any.
    reach = _quantile(green, 0.99).astype(np.float32) - _quantile(green, 0.01)
    if not structured.any():
        return np.zeros_like(structured)
    # Of the middle one, which has red cells: a nucleus is darker than all else in the frame.
    usual = float(np.median(reach[structured]))
    kernel = np.ones((3, 3), np.uint8)
    ground = float(np.quantile(_quantile(green, 0.9), 0.9))
    pale = cv2.dilate(reach, kernel) < min(VEILED_CONTRAST * usual, VEILED_DEPTH * ground)
    if not pale.any():
        return pale
    whole = _spread_of_all(sampled.colours[1])
    change = np.abs(sampled.colours[1].astype(np.int16) - sampled.beside).mean(axis=(2, 3))
    seen = _unshaded_spread(sampled.colours[1])
    seen -= np.maximum(VEILED_NOISE * change, VEILED_SPREAD * whole)
    veiled = pale & (cv2.blur(seen.astype(np.float32), (3, 3)) > 0)
    veiled = cv2.dilate(veiled.astype(np.uint8), kernel) > 0
    veiled &= ~structured | pale
    if outside is None:
        return large_parts(veiled, VEILED_PART)
    return large_parts(veiled & ~outside, VEILED_PART * float((~outside).mean()))
