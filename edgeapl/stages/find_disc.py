"""Find the lit disc of an image through an eyepiece, and tell it from an image that lost a part.

Dark is not the same as outside. A surround is only believed where the light ends along a circle, is
all dark beyond and all lit within; a torn, shaded or half covered image keeps its dark parts, and
they count as not examined.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.circle_fit import Circle, fit_circle
from edgeapl.stages.disc_profile import made_small, measured_disc
from edgeapl.stages.lit_disc import DIM_AT, LitDisc
from edgeapl.types import UInt8

COARSE_PX = 256
"""Longer side of the image in which the circle is looked for."""

DARK, LEAST_DARK = 0.35, 0.02
"""An image may have a surround when this share of its border is darker than this share of its
bright pixels; most images have none and are done here."""

SURROUND = 0.4
"""Mean brightness of the surround relative to the field, at most."""

LEAST_OUTSIDE = 0.004
"""Share of the image: less is no tile."""

DARK_OUTSIDE, LIT_INSIDE = 0.9, 0.93
"""Shares that must be dark beyond the circle, for stamps are written there, and lit within."""

BESIDE = 0.04
"""Share of the radius on both sides of the circle that is not looked at for that."""

SMALLEST, LARGEST = 0.15, 0.8
"""Radius as a share of the shorter side, and of the diagonal: a straight shadow fits any large
circle."""

LEAST_SPAN, LEAST_FOUND = 75.0, 0.7
"""Degrees of the circle over which its rim is seen, and how much of the part of it that lies within
the image is rim."""

SLOPE, WAVERS = (0.3, 0.7), 0.25
"""Light between these shares belongs to the rim; where it is soft, cells that lie there move what
looks like its edge by this share of its width."""

SAME_PLACE, SAME_SIZE = 0.01, 0.02
"""A disc that was found again differs by less, as shares of the radius."""

SHRUNK = 0.95
"""A smaller disc than this share of the source's is a source that lost light."""


@dataclass(frozen=True, slots=True, eq=False)
class LitField:
    """What is known of the light of a source. disc : None when the field fills the image.

    shape : height and width of its images, px.
    """

    disc: LitDisc | None
    shape: tuple[int, int]

    def grows(self, disc: LitDisc | None) -> bool:
        """Whether an image shows more of the field than any before it."""
        return self.disc is not None and disc is not None and disc.radius > self.disc.radius


def disc_of(pixels: UInt8, known: LitField | None) -> LitDisc | None:
    """Return the disc of one frame of a source, or None where the field fills it.

    Parameters
    ----------
    pixels : uint8 (H, W, 3) RGB.
    known : of the images before it.

    The disc of the source is confirmed, or found anew where the eyepiece moved. An image in which
    less is lit than before keeps the disc of the source, so that what is dark in it is lost; and a
    source without a disc gets none.
    """
    shape = (pixels.shape[0], pixels.shape[1])
    if known is None or known.shape != shape:
        return find_disc(pixels)
    if known.disc is None:
        return None
    before, own = known.disc, find_disc(pixels)
    if own is None or own.radius < SHRUNK * before.radius:
        return before if _is_dark_beyond(pixels, before) else None
    moved = np.hypot(own.x - before.x, own.y - before.y)
    near = moved <= SAME_PLACE * before.radius
    return before if near and own.radius < (1 + SAME_SIZE) * before.radius else own


def find_disc(pixels: UInt8) -> LitDisc | None:
    """Return the lit disc of an image, uint8 (H, W, 3) RGB; None where none is certain."""
    if not _has_dark_border(pixels):
        return None
    small = made_small(pixels)
    brightest = _coarse(small)
    lit = _lit(brightest)
    if lit is None:
        return None
    rim = _rim(lit)
    largest = LARGEST * float(np.hypot(*lit.shape))
    circle = fit_circle(rim, largest, WAVERS * _softness(brightest, len(rim)))
    if circle is None or circle.radius < SMALLEST * min(lit.shape):
        return None
    if not _explains(circle, lit, brightest) or not _is_seen(circle, lit.shape):
        return None
    shape = (pixels.shape[0], pixels.shape[1])
    return measured_disc(small, shape, circle.scaled(max(shape) / max(lit.shape)))


def _has_dark_border(pixels: UInt8) -> bool:
    """Tell in a glance whether a surround may be there."""
    step = max(1, min(pixels.shape[:2]) // 64)
    some = pixels[::step, ::step].max(axis=2)
    border = np.concatenate([some[0], some[-1], some[:, 0], some[:, -1]])
    bright = float(np.quantile(some, 0.9))
    return bool((border < DARK * bright).mean() >= LEAST_DARK)


def _coarse(pixels: UInt8) -> UInt8:
    """Brightest colour of the image made small: stain is bright in one, the dark in none."""
    red, green, blue = cv2.split(made_small(pixels, COARSE_PX))
    return np.asarray(cv2.max(cv2.max(red, green), blue), dtype=np.uint8)


def _level(brightest: UInt8) -> float:
    """Brightness of the field: the middle of what is not dark."""
    threshold, _ = cv2.threshold(brightest, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    above = brightest[brightest > threshold]
    return float(np.median(above)) if above.size else 0.0


def _lit(brightest: UInt8) -> UInt8 | None:
    """Return the largest lit part without holes, uint8 (h, w); None where nothing is dark."""
    mask = (brightest > DIM_AT * _level(brightest)).astype(np.uint8)
    if mask.all() or not mask.any():
        return None
    kernel = np.ones((5, 5), np.uint8)
    mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)
    mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel), np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    largest = max(outlines, key=cv2.contourArea)
    return np.asarray(cv2.drawContours(np.zeros_like(mask), [largest], -1, 1, cv2.FILLED), np.uint8)


def _softness(brightest: UInt8, rim: int) -> float:
    """Return the width of the edge of the light, px, for a rim so many px long."""
    left = brightest / max(1.0, _level(brightest))
    low, high = SLOPE
    return float(((left > low) & (left < high)).sum() / max(1, rim))


def _rim(lit: UInt8) -> NDArray[np.float64]:
    """Return the edge of the lit part where it is not the image's own, float64 (N, 2) x y."""
    outlines, _ = cv2.findContours(lit, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = outlines[0][:, 0].astype(np.float64)
    height, width = lit.shape
    x, y = points.T
    inner = (x >= 2) & (y >= 2) & (x <= width - 3) & (y <= height - 3)
    return np.asarray(points[inner])


def _explains(circle: Circle, lit: UInt8, brightest: UInt8) -> bool:
    """Tell whether all within a circle is lit, and all beyond it dark."""
    away = _distances(circle, lit.shape)
    inside, outside = away < (1 - BESIDE) * circle.radius, away > (1 + BESIDE) * circle.radius
    if outside.mean() < LEAST_OUTSIDE or not inside.any():
        return False
    lit_beyond = lit[outside].mean()
    level = np.median(brightest[inside])
    beyond = np.minimum(brightest[outside], level).mean()
    return bool(
        lit[inside].mean() >= LIT_INSIDE
        and lit_beyond <= 1 - DARK_OUTSIDE
        and beyond <= SURROUND * level
    )


def _is_seen(circle: Circle, shape: tuple[int, ...]) -> bool:
    """Tell whether enough of the circle is the rim that was found."""
    degrees = np.arange(0, 360, 2)
    turn = np.deg2rad(degrees)
    x, y = circle.x + circle.radius * np.cos(turn), circle.y + circle.radius * np.sin(turn)
    height, width = shape
    within = (x > 3) & (y > 3) & (x < width - 4) & (y < height - 4)
    found = np.isin(degrees, (circle.degrees // 2 * 2).astype(np.int64)) & within
    if not within.any() or found.sum() < LEAST_FOUND * within.sum():
        return False
    at = degrees[found]
    gaps = np.diff(np.append(at, at[0] + 360))
    return bool(360 - gaps.max() >= LEAST_SPAN)


def _is_dark_beyond(pixels: UInt8, disc: LitDisc) -> bool:
    """Whether an image is dark where the source's disc ends, whatever is lost within it."""
    brightest = _coarse(pixels)
    scale = max(brightest.shape) / max(pixels.shape[:2])
    circle = Circle(disc.x * scale, disc.y * scale, disc.radius * scale, np.empty(0))
    away = _distances(circle, brightest.shape)
    inside, outside = away < (1 - BESIDE) * circle.radius, away > (1 + BESIDE) * circle.radius
    if not inside.any() or not outside.any():
        return False
    level = float(np.quantile(brightest[inside], 0.9))
    return bool((brightest[outside] < DIM_AT * level).mean() >= DARK_OUTSIDE)


def _distances(circle: Circle, shape: tuple[int, ...]) -> NDArray[np.float64]:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(x - circle.x, y - circle.y), np.float64)
