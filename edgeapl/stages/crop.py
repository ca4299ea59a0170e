"""Cut cells out of a frame at the scale the networks were trained on."""

from __future__ import annotations

import cv2
import numpy as np

from edgeapl.bundle.manifest import CropSpec
from edgeapl.types import Float32, UInt8


def cut_cells(pixels: UInt8, centres: Float32, um_per_px: float, spec: CropSpec) -> UInt8:
    """Cut a square window around every centre and bring it to the network's size.

    Where a window reaches over the edge of the frame, the edge pixels are repeated. Shrinking
    averages areas, growing interpolates linearly, so no pixel of the cell is skipped.

    Parameters
    ----------
    pixels : uint8 (H, W, 3) RGB.
    centres : float32 (N, 2), x y in px.
    um_per_px : scale of the frame, µm per px.
    spec : window side in µm and output side in px.

    Returns
    -------
    uint8 (N, size_px, size_px, 3) RGB.
    """
    side = max(1, round(spec.window_um / um_per_px))
    size = spec.size_px
    how = cv2.INTER_AREA if side >= size else cv2.INTER_LINEAR
    crops = np.empty((len(centres), size, size, 3), dtype=np.uint8)
    for row, (x, y) in enumerate(centres):
        left, top = round(float(x) - side / 2), round(float(y) - side / 2)
        cv2.resize(
            _window(pixels, left, top, side), (size, size), dst=crops[row], interpolation=how
        )
    return crops


def _window(pixels: UInt8, left: int, top: int, side: int) -> UInt8:
    height, width = pixels.shape[:2]
    right, bottom = left + side, top + side
    inside = pixels[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    if inside.shape[:2] == (side, side):
        return inside
    return np.asarray(
        cv2.copyMakeBorder(
            inside,
            max(-top, 0),
            max(bottom - height, 0),
            max(-left, 0),
            max(right - width, 0),
            cv2.BORDER_REPLICATE,
        ),
        dtype=np.uint8,
    )
