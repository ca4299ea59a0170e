"""Make an image through an eyepiece look as if its field filled the frame.

The rim is made as bright as the middle, and the surround gets the colour of the empty field beside
it. So every step for whole frames works on it, and finds nothing in the surround.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from edgeapl.stages.lit_disc import LitDisc
from edgeapl.types import Detections, Float32, Frame, UInt8

GRAIN = 2
"""Grey values by which the filled surround differs from pixel to pixel: ground without any noise
would look like a lost block."""

BLEND, LEAST_BLEND_PX = 0.006, 3.0
"""Share of the radius over which the image passes into the surround, and the least of it: a cell
that is cut there must not have an edge sharper than its own."""

COARSE = 8
"""The colour of the surround is computed for blocks of this side, px."""


def evened_frame(frame: Frame, disc: LitDisc) -> Frame:
    """Return the frame with the pixels of `evened`, and all else as it is."""
    return replace(frame, pixels=evened(frame.pixels, disc))


def evened(pixels: UInt8, disc: LitDisc) -> UInt8:
    """Even the light of the rim, and fill the surround with the colour of the empty field.

    pixels : uint8 (H, W, 3) RGB, as large as the disc says.
    """
    away = disc.distances()
    blend = max(LEAST_BLEND_PX, BLEND * disc.radius)
    start = min(disc.radius - disc.rim, disc.radius - blend)
    beyond = away > disc.radius
    rim = np.flatnonzero((away > start) & ~beyond)
    if not len(rim) and not beyond.any():
        return pixels
    fill = _surround(disc)
    out = np.asarray(cv2.copyTo(fill, beyond.view(np.uint8), pixels.copy()), np.uint8)
    away = away.ravel()[rim]
    weight = np.clip((disc.radius - away) / np.float32(blend), 0, 1)[:, None]
    lit = pixels.reshape(-1, 3)[rim] / _left_at(disc, away)
    lit *= weight
    lit += fill.reshape(-1, 3)[rim] * (1 - weight)
    out.reshape(-1, 3)[rim] = np.clip(lit, 0, 255).astype(np.uint8)
    return out


def _surround(disc: LitDisc) -> UInt8:
    """Return the colour of the empty field beside the rim at every angle, uint8 (H, W, 3)."""
    height, width = -(-disc.height // COARSE), -(-disc.width // COARSE)
    x = (np.arange(width, dtype=np.float32) + 0.5) * COARSE - np.float32(disc.x)
    y = (np.arange(height, dtype=np.float32) + 0.5) * COARSE - np.float32(disc.y)
    turn = cv2.phase(np.tile(x, (height, 1)), np.tile(y[:, None], (1, width)))  # 0 to 2 pi
    count = len(disc.ground)
    sector = (turn * (count / (2 * np.pi)) + 0.5).astype(np.int64) % count
    size = (disc.width, disc.height)
    fill = cv2.resize(
        np.maximum(disc.ground[sector], GRAIN) - np.uint8(GRAIN),
        size,
        interpolation=cv2.INTER_LINEAR,
    )
    grain = np.random.default_rng(0).integers(0, 2 * GRAIN + 1, fill.shape[:2], dtype=np.uint8)
    return np.asarray(cv2.add(fill, cv2.merge([grain] * 3)), np.uint8)


def within_disc(found: Detections, frame: Frame, disc: LitDisc) -> tuple[Detections, Detections]:
    """Return the cells that lie in the disc, on `frame` and on the frame of `found`."""
    inside = disc.reaches(found.boxes)
    kept = found if inside.all() else found.only(np.flatnonzero(inside).astype(np.int64))
    return replace(kept, frame=frame), kept


def _left_at(disc: LitDisc, away: Float32) -> Float32:
    """Return the light that is left of each colour at some distances, float32 (N, 3)."""
    steps = len(disc.falloff) - 1
    place = np.minimum(away * np.float32(steps / disc.radius), steps).astype(np.int64)
    return np.asarray(disc.falloff[place], np.float32)
