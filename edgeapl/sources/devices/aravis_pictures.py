"""Pixel formats of GigE Vision and USB3 Vision cameras."""

from __future__ import annotations

import ctypes

import numpy as np

from edgeapl.sources.devices.colour import rgb_of_grey, rgb_of_mosaic
from edgeapl.types import UInt8

# name of the pixel format: (PFNC code, bytes per pixel)
FORMATS = {
    "RGB8": (0x02180014, 3),
    "BGR8": (0x02180015, 3),
    "BayerGR8": (0x01080008, 1),
    "BayerRG8": (0x01080009, 1),
    "BayerGB8": (0x0108000A, 1),
    "BayerBG8": (0x0108000B, 1),
    "Mono8": (0x01080001, 1),
}
"""Pixel Format Naming Convention 2.1 (EMVA): the supported 8-bit formats."""

NAMES = {code: name for name, (code, _) in FORMATS.items()}

_MOSAICS = {"BayerGR8": "GRBG", "BayerRG8": "RGGB", "BayerGB8": "GBRG", "BayerBG8": "BGGR"}


def rgb_of_memory(
    kind: str, address: int | None, size: int, width: int, height: int
) -> UInt8 | None:
    """Copy a picture out of a driver's memory, as RGB uint8 (height, width, 3).

    Parameters
    ----------
    kind : key of FORMATS; empty for any other.
    address, size : of the memory, bytes.
    width, height : px.

    Returns None when these do not match.
    """
    depth = FORMATS[kind][1] if kind else 0
    wanted = width * height * depth
    # A camera may pad its pictures at the end, never inside: fewer bytes are not a picture.
    if not address or wanted <= 0 or size < wanted:
        return None
    raw = np.frombuffer(ctypes.string_at(address, wanted), np.uint8)
    if depth == 3:
        image = raw.reshape(height, width, 3)
        return image if kind == "RGB8" else np.ascontiguousarray(image[..., ::-1])
    plane = raw.reshape(height, width)
    return rgb_of_mosaic(plane, _MOSAICS[kind]) if kind in _MOSAICS else rgb_of_grey(plane)
