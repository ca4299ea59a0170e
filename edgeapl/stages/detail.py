"""How much fine detail an image of one cell holds.

One cell has too few edges for the focus measure of frames, and that works at a scale at which a
blur that makes the granules of a promyelocyte vanish is not seen. But such images come cut to size
by one system, which gives the same share of fine to coarse detail cell after cell: in 20 patients
of one laboratory it differs by 0.1, and a blur of 1 px takes 0.6 away.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.types import UInt8

Float64 = NDArray[np.float64]

SIGMAS_PX = (0.7, 1.4, 2.8, 5.6)
"""Each band is what one blur takes away from the one before."""

_NOTHING = 1e-3
"""Squared grey values that are added to every band, so that an empty image has a detail, too."""


def bands_of(pixels: UInt8) -> Float64:
    """Return logs of the energy of each band over that of the next coarser one, float64 (3,).

    pixels : uint8 (H, W, 3) RGB; green counts, where both stains absorb.
    """
    green = cv2.extractChannel(pixels, 1).astype(np.float32)
    smooth = [green, *(cv2.GaussianBlur(green, (0, 0), sigma) for sigma in SIGMAS_PX)]
    energy = [
        float(np.square(fine - coarse).mean()) + _NOTHING for fine, coarse in pairwise(smooth)
    ]
    return np.asarray(np.log(np.array(energy[:-1]) / np.array(energy[1:])), np.float64)


def detail_of(pixels: UInt8) -> float:
    """Return one number that falls with every blur: log of the finest band over the third."""
    return detail_from(bands_of(pixels))


def detail_from(bands: Float64) -> float:
    """Return the same from bands that are known already."""
    return float(bands[0] + bands[1])
