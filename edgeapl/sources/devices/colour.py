"""Converts sensor data to 8-bit RGB; what cannot be converted to colour is refused."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import CameraError
from edgeapl.types import UInt8

MOSAICS = {
    "RGGB": cv2.COLOR_BayerRGGB2RGB,
    "GRBG": cv2.COLOR_BayerGRBG2RGB,
    "GBRG": cv2.COLOR_BayerGBRG2RGB,
    "BGGR": cv2.COLOR_BayerBGGR2RGB,
}
"""Colours of a sensor's first two pixels and of the two below, to OpenCV's conversion code.

OpenCV's older names (BayerBG...) count from the second pixel of the second row and mislead.
"""


def rgb_of_mosaic(raw: UInt8, mosaic: str) -> UInt8:
    """Turn uint8 (H, W), one colour per pixel, into RGB uint8 (H, W, 3), bilinear."""
    return np.asarray(cv2.cvtColor(raw, MOSAICS[mosaic]), dtype=np.uint8)


def rgb_of_grey(grey: UInt8) -> UInt8:
    """Turn uint8 (H, W) into RGB of the same brightness, without adding colour."""
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def eight_bits(pixels: NDArray[Any], depth: int, name: str) -> UInt8:
    """Keep the upper 8 of the bits that a camera uses.

    Parameters
    ----------
    pixels : uint8 or uint16, any shape.
    depth : bits in use, as the camera states them, 8 to 16.
    name : of the camera.

    Raises CameraError when a pixel exceeds the stated bits, which are then wrong.
    """
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if not 8 <= depth <= 16:
        raise _not_understood(f"{depth} bits", name)
    if int(pixels.max(initial=0)) >> depth:
        what = f"camera gives pixels above the {depth} bits that it states"
        raise CameraError(what, name, "correct its bit depth or set it to 8-bit colour")
    return (pixels >> (depth - 8)).astype(np.uint8)


def as_rgb(pixels: NDArray[Any], depth: int, name: str, *, mosaic: str, grey: bool) -> UInt8:
    """Return RGB uint8 (H, W, 3) for a picture with or without colour.

    Parameters
    ----------
    pixels : uint8 or uint16, (H, W, 3) RGB or (H, W).
    depth : bits in use.
    name : of the camera.
    mosaic : key of MOSAICS for (H, W) from a sensor with a colour mosaic, else empty.
    grey : treat (H, W) as grey.

    Raises CameraError for a picture without colour unless one of the two was set.
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise _not_understood(pixels.dtype, name)
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return eight_bits(pixels, depth, name)
    if pixels.ndim != 2:
        raise _not_understood(f"shape {pixels.shape}", name)
    if mosaic:
        return rgb_of_mosaic(eight_bits(pixels, depth, name), mosaic)
    if grey:
        return rgb_of_grey(eight_bits(pixels, depth, name))
    mend = "set it to colour, or add mosaic=RGGB for a sensor with that colour mosaic, or grey=1"
    raise CameraError("camera gives pictures without colour", name, mend)


def _not_understood(kind: object, name: str) -> CameraError:
    what = f"camera gives pictures of a kind that is not understood ({kind})"
    return CameraError(what, name, "set it to 8-bit colour")
