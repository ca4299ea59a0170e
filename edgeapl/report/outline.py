"""Outlines of cells from a label image, as closed polygons."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Detections

Ring = NDArray[np.float64]
"""Float64 (K, 2), x y in px, K at least 3, the last point joined to the first.

The origin is the corner of the first pixel, so that its centre is at 0.5, 0.5.
"""

SIMPLIFIED_PX = 0.7
"""Largest distance between the traced and the simplified outline, px."""


def outlines(detections: Detections) -> list[tuple[Ring, ...]]:
    """Trace every cell of a frame.

    Returns one entry per row: a ring for each part of the cell, largest first, holes filled, none
    crossing itself, all within 1 px of the cell's border. A cell without a pixel of its own in
    the label image gets its box.
    """
    labels = detections.labels
    parts: list[tuple[Ring, ...]] = []
    for row, (box, count) in enumerate(
        zip(detections.boxes.tolist(), pixel_counts(detections).tolist(), strict=True)
    ):
        if count == 0:
            parts.append((_box(box),))
            continue
        x0, y0 = int(box[0]), int(box[1])
        mask = labels[y0 : math.ceil(box[3]), x0 : math.ceil(box[2])] == row + 1
        if np.count_nonzero(mask) != count:  # a box may not contain all of its cell
            x0, y0, mask = 0, 0, labels == row + 1
        parts.append(trace(mask.astype(np.uint8), x0, y0))
    return parts


def pixel_counts(detections: Detections) -> NDArray[np.int64]:
    """Count the pixels of every cell in the label image, int64 (N,)."""
    bins = len(detections) + 1
    # np.bincount would first make an int64 copy of the whole image. Its float32 counts are exact
    # up to 16 million pixels. OpenCV 4 returns a column, OpenCV 5 a row.
    counts = cv2.calcHist([detections.labels], [0], None, [bins], [0, bins])
    return counts.ravel()[1:].astype(np.int64)


def trace(mask: NDArray[np.uint8], x0: int = 0, y0: int = 0) -> tuple[Ring, ...]:
    """Return the rings around the parts of a mask, largest first.

    Parameters
    ----------
    mask : uint8 (H, W), 1 inside.
    x0, y0 : position of the mask in its frame, px.
    """
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    sizes = stats[1:count, cv2.CC_STAT_AREA]
    return tuple(
        _ring((parts == part + 1).astype(np.uint8)) + np.array([x0, y0])
        for part in np.argsort(-sizes, kind="stable").tolist()
    )


def _ring(part: NDArray[np.uint8]) -> Ring:
    """Trace one part whose pixels are connected by their sides.

    At double size even a part one pixel wide has an outline with an area that never touches
    itself; it runs a quarter of a pixel inside the true border.
    """
    doubled = np.pad(part, 1).repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    exact = contours[0]
    simple = cv2.approxPolyDP(exact, 2 * SIMPLIFIED_PX, closed=True)
    kept = simple if len(simple) >= 3 and not crosses_itself(simple[:, 0]) else exact
    return np.asarray((kept[:, 0] + 0.5) / 2 - 1, dtype=np.float64)


def crosses_itself(points: NDArray[np.generic]) -> bool:
    """Whether any two sides of a closed polygon meet that are not neighbours.

    Parameters
    ----------
    points : integer (K, 2), K at least 3.
    """
    start = points.astype(np.int64)
    end = np.roll(start, -1, axis=0)
    low, high = np.minimum(start, end), np.maximum(start, end)
    # Compare only sides whose boxes meet; collinear sides meet exactly when their boxes do.
    meet = (low[:, None] <= high).all(axis=2) & (low <= high[:, None]).all(axis=2)
    one, two = np.nonzero(np.triu(meet, 2))
    apart = ~((one == 0) & (two == len(start) - 1))
    a, b, c, d = start[one[apart]], end[one[apart]], start[two[apart]], end[two[apart]]
    first = np.sign(_orientation(a, b, c)) * np.sign(_orientation(a, b, d)) <= 0
    second = np.sign(_orientation(c, d, a)) * np.sign(_orientation(c, d, b)) <= 0
    return bool((first & second).any())


def _orientation(
    a: NDArray[np.int64], b: NDArray[np.int64], c: NDArray[np.int64]
) -> NDArray[np.int64]:
    u, v = b - a, c - a
    return np.asarray(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0], dtype=np.int64)


def _box(box: list[float]) -> Ring:
    x0, y0, x1, y1 = box
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=np.float64)
