"""Outlines of cells from a label image, as closed polygons."""

from __future__ import annotations

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

    Gives one entry per row: a ring for each piece of the cell, largest first, holes filled, none
    crossing itself, all within 1 px of the cell's border. A cell without a pixel of its own in
    the label image gets its box.
    """
    labels = detections.labels
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns]
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    pieces: list[tuple[Ring, ...]] = [(_box(box),) for box in detections.boxes.tolist()]
    if not len(found):
        return pieces
    top = np.minimum.reduceat(rows[order], starts)
    bottom = np.maximum.reduceat(rows[order], starts) + 1
    left = np.minimum.reduceat(columns[order], starts)
    right = np.maximum.reduceat(columns[order], starts) + 1
    for number, y0, y1, x0, x1 in zip(found.tolist(), top, bottom, left, right, strict=True):
        mask = (labels[y0:y1, x0:x1] == number).astype(np.uint8)
        pieces[number - 1] = trace(mask, int(x0), int(y0))
    return pieces


def trace(mask: NDArray[np.uint8], x0: int = 0, y0: int = 0) -> tuple[Ring, ...]:
    """Give the rings around the pieces of a mask, largest first.

    Parameters
    ----------
    mask : uint8 (H, W), 1 inside.
    x0, y0 : where the mask lies in its frame, px.
    """
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    sizes = stats[1:count, cv2.CC_STAT_AREA]
    return tuple(
        _ring((pieces == piece + 1).astype(np.uint8)) + np.array([x0, y0])
        for piece in np.argsort(-sizes, kind="stable").tolist()
    )


def _ring(piece: NDArray[np.uint8]) -> Ring:
    """Trace one piece whose pixels all share sides.

    Doubled in size, even a piece one pixel wide has an outline with an area, and one that never
    touches itself; it runs a quarter of a pixel inside the true border.
    """
    doubled = np.pad(piece, 1).repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    exact = contours[0]
    simple = cv2.approxPolyDP(exact, 2 * SIMPLIFIED_PX, closed=True)
    kept = simple if len(simple) >= 3 and not crosses_itself(simple[:, 0]) else exact
    return np.asarray((kept[:, 0] + 0.5) / 2 - 1, dtype=np.float64)


def crosses_itself(points: NDArray[np.generic]) -> bool:
    """Say whether any two sides of a closed polygon that are not neighbours meet.

    Parameters
    ----------
    points : integer (K, 2), K at least 3.
    """
    start = points.astype(np.int64)
    end = np.roll(start, -1, axis=0)
    one, two = np.triu_indices(len(start), 2)
    apart = ~((one == 0) & (two == len(start) - 1))
    one, two = one[apart], two[apart]
    a, b, c, d = start[one], end[one], start[two], end[two]
    sides = [np.sign(_turn(a, b, c)), np.sign(_turn(a, b, d))]
    sides += [np.sign(_turn(c, d, a)), np.sign(_turn(c, d, b))]
    proper = (sides[0] * sides[1] <= 0) & (sides[2] * sides[3] <= 0)
    # Sides on one line have no turn at all: they meet only when their boxes do.
    low, high = np.minimum(a, b), np.maximum(a, b)
    other_low, other_high = np.minimum(c, d), np.maximum(c, d)
    boxes = ((low <= other_high) & (other_low <= high)).all(axis=1)
    return bool((proper & boxes).any())


def _turn(a: NDArray[np.int64], b: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.int64]:
    u, v = b - a, c - a
    return np.asarray(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0], dtype=np.int64)


def _box(box: list[float]) -> Ring:
    x0, y0, x1, y1 = box
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=np.float64)
