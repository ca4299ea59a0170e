"""What Segment Anything is asked: boxes or points, in px of its own image."""

from __future__ import annotations

import numpy as np

from edgeapl.types import Float32

NOTHING, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = -1, 1, 2, 3
"""Kinds of points, as the decoder knows them."""


def of_boxes(boxes: Float32, scale: float) -> Float32:
    """Return one prompt for each box: its two corners.

    Parameters
    ----------
    boxes : float32 (N, 4), x0 y0 x1 y1 in px of the frame. scale : input px per frame px.

    Returns
    -------
    float32 (N, 2, 3): x and y in input px, and the kind of point.
    """
    prompts = np.empty((len(boxes), 2, 3), dtype=np.float32)
    prompts[..., :2] = boxes.reshape(-1, 2, 2) * np.float32(scale)
    prompts[..., 2] = TOP_LEFT, BOTTOM_RIGHT
    return prompts


def of_grid(points: int, height: int, width: int, scale: float) -> Float32:
    """Return one prompt for each point of a grid over the frame, row by row.

    Parameters
    ----------
    points : along each side; each lies in the middle of its part. height, width : of the frame,
        px. scale : input px per frame px.

    Returns
    -------
    float32 (points * points, 2, 3), as `of_boxes`; the second point is none.
    """
    steps = (np.arange(points) + 0.5) / points
    prompts = np.zeros((points, points, 2, 3), dtype=np.float32)
    prompts[:, :, 0, 0] = steps * width * scale
    prompts[:, :, 0, 1] = (steps * height * scale)[:, None]
    prompts[..., 2] = FOREGROUND, NOTHING
    return prompts.reshape(-1, 2, 3)
