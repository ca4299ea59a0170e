"""The cytoplasm around nuclei, and the boxes around whole cells."""

from __future__ import annotations

import cv2
import numpy as np

from edgeapl.stages.segment.cells import CellLimits, Piece, union_box
from edgeapl.stages.segment.nuclei import Bool, disc, smoothed
from edgeapl.types import Float32, Int64, UInt16


def add_cytoplasm(
    groups: list[list[Piece]], stained: Bool, um_per_px: float, limits: CellLimits
) -> UInt16:
    """Grow every nucleus over its cytoplasm; where cells touch, the nearer nucleus takes it.

    Cytoplasm is stained but not like a red cell: within reach of the nucleus, at least a little
    absorbing, and blue absorption no more than that of the nucleus surroundings. A rim is always
    added, since pale cytoplasm is often as bright as the background.

    Parameters
    ----------
    groups : the pieces of each nucleus, at most `edgeapl.stages.segment.nuclei.MOST_LABELS`.
    stained : bool (H, W), of `cytoplasm_colour`.

    Returns
    -------
    uint16 (H, W), the number of the cell that a pixel belongs to, 1 for the first group.
    """
    cells = np.zeros(stained.shape, dtype=np.uint16)
    if not groups:
        return cells
    nuclei = np.concatenate([piece.pixels for group in groups for piece in group])
    numbers = np.repeat(
        np.arange(1, len(groups) + 1, dtype=np.uint16),
        [sum(len(piece.pixels) for piece in group) for group in groups],
    )
    outside = np.ones(stained.shape, dtype=np.uint8)
    outside.ravel()[nuclei] = 0
    distance, labels = cv2.distanceTransformWithLabels(
        outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.asarray(labels, dtype=np.int32).ravel()
    distance *= np.float32(um_per_px)
    owner = np.zeros(len(nuclei) + 1, dtype=np.uint16)
    owner[nearest[nuclei]] = numbers
    body = stained & (distance <= limits.cytoplasm)
    body |= distance <= limits.rim
    opened = cv2.morphologyEx(body.view(np.uint8), cv2.MORPH_OPEN, disc(1.75, um_per_px))
    opened.ravel()[nuclei] = 1
    at = np.flatnonzero(opened.view(np.bool_))
    cells.ravel()[at] = owner.take(nearest.take(at))
    return cells


def cell_boxes(
    groups: list[list[Piece]], cells: UInt16, um_per_px: float, limits: CellLimits
) -> Int64:
    """Give the box around each cell, int64 (N, 4), x0 y0 x1 y1 px, half-open.

    Parameters
    ----------
    groups, cells : as given to `add_cytoplasm`, and what it gave.
    """
    # Distances are measured in steps on the grid and may be 5 % wrong.
    reach = int(np.ceil(1.05 * max(limits.cytoplasm, limits.rim) / um_per_px)) + 1
    boxes = np.empty((len(groups), 4), dtype=np.int64)
    for row, group in enumerate(groups):
        x0, y0, x1, y1 = union_box(group)
        left, top = max(0, x0 - reach), max(0, y0 - reach)
        own = cells[top : y1 + reach, left : x1 + reach] == row + 1
        x, y, width, height = cv2.boundingRect(own.view(np.uint8))
        boxes[row] = left + x, top + y, left + x + width, top + y + height
    return boxes


def cytoplasm_colour(density: Float32, um_per_px: float) -> Bool:
    """Tell what may be cytoplasm by its colour alone, bool (H, W).

    Parameters
    ----------
    density : float32 (3, H, W), optical densities R G B.
    """
    red, green, blue = (smoothed(plane, 0.5, um_per_px) for plane in density)
    stained = green > 0.03
    stained &= red > 0.35 * green
    green *= np.float32(0.45)
    green += np.float32(0.02)
    stained &= blue < green
    return stained
