"""Measure how the light falls off towards the rim of a disc, and the empty field there."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.circle_fit import Circle, through
from edgeapl.stages.lit_disc import DIM_AT, LitDisc
from edgeapl.types import Float32, UInt8

FINE_PX = 1024
"""Longer side of the image in which light is measured."""

REACH = 1.12
"""Light is measured up to this share of the radius."""

ANGLES, SECTORS = 180, 18

GROUND_QUANTILE = 0.8
"""Share of the pixels at one distance that may be darker than the empty field."""

MIDDLE = (0.4, 0.75)
"""Distances, as shares of the radius, over which the light counts as whole."""

FALLS_FROM, STILL_WHOLE = 0.75, 0.95
"""Only beyond this share of the radius light is evened, where less is left than that: what falls
slowly, or because of the cells that lie there, is left to the fit of the empty field."""

NEAR_RIM = (0.7, 0.96)
"""Distances at which the ground beside the rim is measured."""

STAINED = 0.08
"""Uneven light dims all colours of the ground alike, stain does not: where their shares of the
whole rim's differ by more, cells cover the rim."""


def made_small(pixels: UInt8, side: int = FINE_PX) -> UInt8:
    """Shrink an image, uint8 (H, W, 3) RGB, to at most so many px along its longer side."""
    shrink = min(1.0, side / max(pixels.shape[:2]))
    size = (max(8, round(pixels.shape[1] * shrink)), max(8, round(pixels.shape[0] * shrink)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def measured_disc(small: UInt8, shape: tuple[int, int], circle: Circle) -> LitDisc | None:
    """Return the disc near a roughly found circle; None where its light has no rim.

    Parameters
    ----------
    small : uint8 (h, w, 3) RGB, of `made_small`. shape : height and width of the image itself.
    circle : in px of the image itself.
    """
    height, width = shape
    shrink = max(small.shape[:2]) / max(shape)
    fine = _refined(small, circle.scaled(shrink))
    unrolled, within = _polar(small, fine)
    light = _light(unrolled, within)
    start, end = (round(share * len(light) / REACH) for share in MIDDLE)
    middle = light[start:end].mean(axis=0)
    if not (middle > 0).all():
        return None
    left = light / middle
    beyond = np.flatnonzero(left.max(axis=1)[end:] < DIM_AT)
    if not len(beyond):
        return None
    last = end + int(beyond[0])
    radius = last * REACH / len(light) * fine.radius
    place = Circle(fine.x, fine.y, radius, circle.degrees).scaled(1 / shrink)
    return LitDisc(
        x=place.x,
        y=place.y,
        radius=place.radius,
        height=height,
        width=width,
        falloff=_falloff(left[: last + 1]),
        ground=_ground(unrolled, within, left, last),
    )


def _refined(small: UInt8, circle: Circle) -> Circle:
    """Move the circle to where the light ends at each angle."""
    unrolled, within = _polar(small, circle)
    brightest = unrolled.max(axis=2).astype(np.float32)
    steps = brightest.shape[1]
    inner = np.median(
        brightest[:, round(0.6 * steps / REACH) : round(0.95 * steps / REACH)], axis=1
    )
    lit = (brightest > DIM_AT * inner[:, None]) & within
    last = steps - 1 - lit[:, ::-1].argmax(axis=1)
    radius = (last + 0.5) * REACH / steps * circle.radius
    ends = within[np.arange(ANGLES), np.minimum(last + 2, steps - 1)] & (last < steps - 2)
    ends &= np.abs(radius / circle.radius - 1) < 0.05
    turn = np.arange(ANGLES) * 2 * np.pi / ANGLES
    points = np.stack([circle.x + radius * np.cos(turn), circle.y + radius * np.sin(turn)], axis=1)
    points = points[ends]
    for _ in range(3):
        found = through(points) if len(points) >= 8 else None
        if found is None:
            return circle
        off = np.abs(np.hypot(points[:, 0] - found[0], points[:, 1] - found[1]) - found[2])
        points = points[off <= max(1.0, 2.5 * float(np.median(off)))]
    return Circle(*found, circle.degrees) if found else circle


def _polar(small: UInt8, circle: Circle) -> tuple[UInt8, NDArray[np.bool_]]:
    """Unroll an image around a centre: uint8 (angles, distances, 3), and which lie within it."""
    height, width = small.shape[:2]
    steps = max(16, round(REACH * circle.radius))
    turn = np.arange(ANGLES, dtype=np.float32)[:, None] * np.float32(2 * np.pi / ANGLES)
    away = (np.arange(steps, dtype=np.float32) + 0.5) * np.float32(REACH * circle.radius / steps)
    x, y = circle.x + away * np.cos(turn), circle.y + away * np.sin(turn)
    x, y = x.astype(np.float32), y.astype(np.float32)
    unrolled = cv2.remap(small, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    within = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return np.asarray(unrolled, np.uint8), np.asarray(within, bool)


def _light(unrolled: UInt8, within: NDArray[np.bool_]) -> Float32:
    """Return the brightness of the empty field at every distance, float32 (N, 3)."""
    # Sorted with all that lies outside the image behind.
    ordered = np.sort(np.where(within[..., None], unrolled, 255), axis=0)
    counts = within.sum(axis=0)
    steps = np.arange(len(counts))
    light = ordered[(GROUND_QUANTILE * np.maximum(0, counts - 1)).astype(np.int64), steps]
    # Where the image shows nothing at a distance it is as at the one before.
    before = np.maximum.accumulate(np.where(counts > 0, steps, 0))
    return np.asarray(cv2.blur(light[before].astype(np.float32), (1, 3)), np.float32)


def _falloff(left: Float32) -> Float32:
    """Return the light left up to the radius, 1 before it begins to fall, never rising."""
    fallen = np.minimum(1, left / STILL_WHOLE)
    start = round(FALLS_FROM * len(left))
    for colour in fallen.T:
        whole = np.flatnonzero(colour >= 1)
        # Dips before that are cells which happen to lie there.
        colour[: max(start, int(whole[-1]) + 1 if len(whole) else 0)] = 1
    fallen = np.minimum.accumulate(fallen, axis=0)
    return np.asarray(np.maximum(fallen, DIM_AT / 2), np.float32)


def _ground(unrolled: UInt8, within: NDArray[np.bool_], left: Float32, last: int) -> UInt8:
    """Return the colour of the empty field near the rim at `SECTORS` angles, uint8 (S, 3).

    Where cells fill the rim, it is that of the angles on both sides.
    """
    start, end = (round(share * last) for share in NEAR_RIM)
    flat = unrolled[:, start:end] / np.minimum(1, left[start:end])
    inside = within[:, start:end]
    whole = np.quantile(flat[inside], GROUND_QUANTILE, axis=0) if inside.any() else np.full(3, 255)
    wide = ANGLES // SECTORS
    bare: list[int] = []
    colours: list[NDArray[np.floating]] = []
    for sector in range(SECTORS):
        rows = np.arange(-wide, wide + 1) + sector * wide
        some = flat[rows % ANGLES][inside[rows % ANGLES]]
        if len(some) >= (end - start) * wide / 2:
            colour = np.quantile(some, GROUND_QUANTILE, axis=0)
            if np.ptp(colour / whole) <= STAINED:
                bare.append(sector)
                colours.append(colour)
    if not bare:
        return np.clip(np.tile(whole, (SECTORS, 1)), 0, 255).astype(np.uint8)
    known = np.stack(colours)
    ground = [np.interp(range(SECTORS), bare, known[:, n], period=SECTORS) for n in range(3)]
    return np.clip(np.stack(ground, axis=1), 0, 255).astype(np.uint8)
