"""Whether two pictures are one, however one of them was turned, mirrored, moved or saved again.

The magnitudes of a picture's spectrum do not change when it is moved, and turn with it; those of
the waves around the spectrum's middle do not change at all (Reddy and Chatterji 1996). They are the
picture's `signature`. Two with alike signatures are laid on each other and compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Float32, UInt8

SIDE = 64
"""Of the grey thumbnail, px."""

RADII = range(2, 22)
"""Waves that count, in halves of a period per side: finer ones are lost when it is saved."""

ANGLES = 64
"""Directions of half a turn; a spectrum's other half is the same."""

HARMONICS = 10
RINGS_WEIGHT = 3.0
"""How a spectrum varies around its middle, and how from ring to ring: both weigh about the same."""

INSIDE = 0.42
"""Radius of what is compared, as a share of the side: what lies outside may have been cut off."""

SURROUNDINGS = 2.5
"""Standard deviation, px, of the weights around a pixel that its details are told from."""

STRONGEST = 0.5
"""Details count no more than this, or the edge of a round cell would outweigh all others."""

Bool: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture, ready to be compared.

    thumbnail : float32 (64, 64), grey. spectrum : float32 (20, 64), radius by direction.
    signature : float32 (220,) of length 1; the product of two says how alike they are.
    """

    thumbnail: Float32
    spectrum: Float32
    signature: Float32


def picture_of(crop: UInt8) -> Picture:
    """Return what is compared of uint8 (H, W, 3) RGB."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    thumbnail = np.asarray(small, dtype=np.float32)
    spectrum = _spectrum(thumbnail)
    return Picture(thumbnail, spectrum, _signature(spectrum))


def aligned_correlation(one: Picture, other: Picture) -> float:
    """Return how alike the details of two pictures are, -1 to 1, laid on each other.

    Turned by any angle, mirrored and moved by up to about a tenth of the side; not resized.
    Details, as round dark cells are all alike without them.
    """
    found = [_laid_on(one, other.thumbnail, other.spectrum)]
    mirrored = np.ascontiguousarray(other.thumbnail[:, ::-1])
    found.append(_laid_on(one, mirrored, _spectrum(mirrored)))
    return max(found)[1]


def _laid_on(one: Picture, thumbnail: Float32, spectrum: Float32) -> tuple[float, float]:
    """Turn and move a thumbnail onto a picture; which half of a turn the spectrum does not tell.

    Returns the correlation of the whole, and of the details.
    """
    angle = _turn_between(one.spectrum, spectrum)
    return max(_moved_onto(one.thumbnail, _turned(thumbnail, angle + half)) for half in (0, 180))


def _turn_between(one: Float32, other: Float32) -> float:
    """Return the angle, degrees from 0 to 180, by which a spectrum is turned against another."""
    a, b = (np.fft.rfft(each - each.mean(1, keepdims=True), axis=1) for each in (one, other))
    match = np.fft.irfft((a * np.conj(b)).sum(0), n=ANGLES)
    return float(match.argmax()) * 180 / ANGLES


def _turned(thumbnail: Float32, degrees: float) -> Float32:
    middle = ((SIDE - 1) / 2, (SIDE - 1) / 2)
    turn = cv2.getRotationMatrix2D(middle, -degrees, 1.0)
    return _warped(thumbnail, turn.astype(np.float64))


def _moved_onto(one: Float32, other: Float32) -> tuple[float, float]:
    """Return both correlations of two thumbnails after the second was moved onto the first."""
    window, inside = _window(), _inside()
    a, b = (((each - each[inside].mean()) * window).astype(np.float64) for each in (one, other))
    (right, down), _ = cv2.phaseCorrelate(a, b)
    moved = _warped(other, np.array([[1, 0, -right], [0, 1, -down]]))
    details = _correlation(_details(one)[inside], _details(moved)[inside])
    return _correlation(one[inside], moved[inside]), details


def _details(thumbnail: Float32) -> Float32:
    """Return what differs from the surroundings of each pixel, in their deviations."""
    level = cv2.GaussianBlur(thumbnail, (0, 0), SURROUNDINGS)
    variance = cv2.GaussianBlur((thumbnail - level) ** 2, (0, 0), SURROUNDINGS)
    details = (thumbnail - level) / np.sqrt(variance + 1)
    return np.asarray(np.clip(details, -STRONGEST, STRONGEST), dtype=np.float32)


def _warped(thumbnail: Float32, move: NDArray[np.float64]) -> Float32:
    made = cv2.warpAffine(thumbnail, move, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(made, dtype=np.float32)


def _correlation(one: Float32, other: Float32) -> float:
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0


def _spectrum(thumbnail: Float32) -> Float32:
    """Return the logarithm of the magnitudes, float32 (20, 64): radius by direction."""
    window = _window()
    level = (thumbnail * window).sum() / window.sum()
    waves = np.fft.fft2((thumbnail - level) * window, (2 * SIDE, 2 * SIDE))
    magnitudes = np.log1p(np.fft.fftshift(np.abs(waves))).astype(np.float32)
    angles = np.arange(ANGLES) * np.pi / ANGLES
    radii = np.array(RADII)[:, None]
    across, down = ((SIDE + radii * each(angles)).astype(np.float32) for each in (np.cos, np.sin))
    found = cv2.remap(magnitudes, across, down, cv2.INTER_LINEAR)
    return np.asarray(found, dtype=np.float32)


def _signature(spectrum: Float32) -> Float32:
    around = np.abs(np.fft.rfft(spectrum, axis=1))[:, :HARMONICS]
    around[:, 0] = 0
    rings = spectrum.mean(1)
    parts = (around.ravel() / _size(around), RINGS_WEIGHT * (rings - rings.mean()) / _size(rings))
    joined = np.concatenate(parts)
    joined -= joined.mean()
    return np.asarray(joined / max(float(np.linalg.norm(joined)), 1e-12), dtype=np.float32)


def _size(values: NDArray[np.floating]) -> float:
    return max(float(values.std()), 1e-12)


def _distance() -> NDArray[np.float64]:
    """Return the distance of every pixel from the middle, as a share of the side."""
    down, across = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.asarray(np.hypot(down, across) / SIDE, dtype=np.float64)


@lru_cache(maxsize=1)
def _window() -> Float32:
    """Return weights that fall to 0 at the edge: else its lines would be all the spectrum shows."""
    rise = np.clip((0.575 - _distance()) / 0.2, 0, 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * rise), dtype=np.float32)


@lru_cache(maxsize=1)
def _inside() -> Bool:
    return _distance() < INSIDE
