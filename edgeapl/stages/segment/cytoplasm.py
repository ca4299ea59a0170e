"""The cytoplasm around nuclei, and the boxes around whole cells."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgeapl.stages.segment.cells import CellLimits, Fragment, union_box
from edgeapl.stages.segment.nuclei import Int32, Mask, disc
from edgeapl.stages.segment.outline import MOST_AT_ONCE, best_radii, directions, ray_pixels
from edgeapl.stages.segment.red_cells import RedCells
from edgeapl.types import Float32, Int64, UInt16

BLUE_SHARE = 0.8
"""Weight of blue absorption beside green: eosinophil granules and yellow light."""

FAINT = 0.05
"""Optical density of the palest cytoplasm; below it is background."""

SURE = 0.03
"""So much more or less, and there is no doubt."""

RED = -0.5
"""Worth of a pixel that looks like the red cells of its field."""

RED_DENSITY = 0.8
"""Share of the red cells' density from which a pixel looks like them; cytoplasm is paler."""

RED_HUE = 0.7
"""Share of the red cells' hue from which a pixel looks like them."""

NUCLEUS = 3.0
"""Worth of a pixel of the nucleus, and loss for one that belongs to another cell."""

DEEPEST = 0.3
"""Optical density above which the stain counts alike: the outline is no edge of a nucleus."""


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """What may be the body of a cell: float32 (H, W) each.

    worth : 1 cytoplasm to -1 background. stain : optical density.
    """

    worth: Float32
    stain: Float32


def cell_body(smooth: Float32, red_cells: RedCells | None) -> Body:
    """Tell what may be cytoplasm by its colour alone.

    Parameters
    ----------
    smooth : float32 (3, H, W), of `edgeapl.stages.segment.nuclei.smooth_density`.
    red_cells : of the same field.
    """
    _, green, blue = smooth
    stain = np.maximum(green, np.float32(BLUE_SHARE) * blue)
    worth = stain - np.float32(FAINT)
    worth *= np.float32(1 / SURE)
    np.clip(worth, -1, 1, out=worth)
    if red_cells is not None:
        red = blue > np.float32(RED_HUE * red_cells.hue) * green
        red &= green > np.float32(RED_DENSITY * red_cells.density)
        worth[red] = RED
    return Body(worth, np.clip(stain, 0, DEEPEST, out=stain))


def add_cytoplasm(
    groups: list[list[Fragment]], body: Body, um_per_px: float, limits: CellLimits
) -> tuple[UInt16, Int64]:
    """Grow every nucleus over its cytoplasm; where cells touch, the nearer nucleus takes it.

    A rim is always added.

    Parameters
    ----------
    groups : the fragments of each nucleus, at most `edgeapl.stages.segment.nuclei.MOST_LABELS`.
    body : of the same frame; its nuclei are written into it.

    Returns
    -------
    uint16 (H, W), the number of the cell that a pixel belongs to, 1 for the first group; and the
    box around each cell, int64 (N, 4), x0 y0 x1 y1 px, half-open.
    """
    cells = np.zeros(body.worth.shape, dtype=np.uint16)
    boxes = np.empty((len(groups), 4), dtype=np.int64)
    if not groups:
        return cells, boxes
    nuclei = np.concatenate([fragment.pixels for group in groups for fragment in group])
    sizes = [sum(len(fragment.pixels) for fragment in group) for group in groups]
    cells.ravel()[nuclei] = np.repeat(np.arange(1, len(groups) + 1, dtype=np.uint16), sizes)
    rim = disc(2 * limits.rim, um_per_px)
    body.worth.ravel()[nuclei] = NUCLEUS
    owner = _owners(cells, limits.cytoplasm / um_per_px)
    reach = int(np.ceil(limits.cytoplasm / um_per_px)) + 2
    for first in range(0, len(groups), MOST_AT_ONCE):
        some = groups[first : first + MOST_AT_ONCE]
        outlines = _outlines(some, first, body, owner, um_per_px, reach)
        for number, (group, outline) in enumerate(zip(some, outlines, strict=True), first + 1):
            boxes[number - 1] = _fill(cells, number, group, outline, rim)
    return cells, boxes


def _owners(nuclei: UInt16, reach: float) -> UInt16:
    """Return the nearest nucleus within `reach` px for every second pixel of every second row.

    Parameters
    ----------
    nuclei : uint16 (H, W), numbers of nuclei.

    Half of the size is enough for where one cell ends and the next begins, and takes a quarter of
    the time.
    """
    half = np.ascontiguousarray(nuclei[::2, ::2])
    distance, labels = cv2.distanceTransformWithLabels(
        (half == 0).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    at = np.flatnonzero(half)
    nearest = np.asarray(labels, dtype=np.int32)
    of_label = np.zeros(len(at) + 1, dtype=np.uint16)
    of_label[nearest.ravel()[at]] = half.ravel()[at]
    owner = of_label.take(nearest)
    owner[distance > reach / 2] = 0
    return owner


def _outlines(
    groups: list[list[Fragment]],
    before: int,
    body: Body,
    owner: UInt16,
    um_per_px: float,
    reach: int,
) -> Int32:
    """Return the outlines of some cells, int32 (N, DIRECTIONS, 2), x y in sixteenths of a px.

    before : how many groups come before these.
    """
    x, y = (
        np.array([_middle(group, axis) for group in groups], dtype=np.float32) for axis in (0, 1)
    )
    sides = np.array([union_box(group) for group in groups])
    farthest = max(
        float((sides[:, 2] - x).max()), float((x - sides[:, 0]).max()),
        float((sides[:, 3] - y).max()), float((y - sides[:, 1]).max()),
    )  # fmt: skip
    across, down, inside = ray_pixels(x, y, int(np.ceil(farthest)) + reach, body.worth.shape)
    numbers = np.arange(before + 1, before + len(groups) + 1, dtype=np.uint16)[:, None, None]
    at = down * np.int32(body.worth.shape[1]) + across
    worths, stains = body.worth.ravel().take(at), body.stain.ravel().take(at)
    half = (down >> 1) * np.int32(owner.shape[1]) + (across >> 1)
    worths[owner.ravel().take(half) != numbers] = -NUCLEUS
    worths[~inside] = 0
    radii = best_radii(worths, stains, um_per_px) + 0.5
    to_right, to_bottom = directions()
    corners = np.stack([x[:, None] + to_right * radii, y[:, None] + to_bottom * radii], axis=2)
    return np.rint(16 * corners).astype(np.int32)


def _middle(group: list[Fragment], axis: int) -> float:
    areas = sum(fragment.area for fragment in group)
    return sum(fragment.centre[axis] * fragment.area for fragment in group) / areas


def _fill(
    cells: UInt16, number: int, group: list[Fragment], outline: Int32, rim: Mask
) -> tuple[int, int, int, int]:
    """Assign one cell the free pixels within its outline and its rim, and return its box.

    rim : by which the nucleus is dilated.
    """
    x0, y0, x1, y1 = union_box(group)
    room = len(rim) // 2 + 1
    ends = outline.min(axis=0) >> 4, (outline.max(axis=0) >> 4) + 2
    left, top = max(0, min(x0 - room, int(ends[0][0]))), max(0, min(y0 - room, int(ends[0][1])))
    right, bottom = max(x1 + room, int(ends[1][0])), max(y1 + room, int(ends[1][1]))
    window = cells[top:bottom, left:right]
    inside = cv2.dilate((window == number).view(np.uint8), rim)
    cv2.fillPoly(inside, [outline - np.array((left << 4, top << 4), np.int32)], 1, shift=4)
    np.copyto(window, np.uint16(number), where=(inside > 0) & (window == 0))
    x, y, width, height = cv2.boundingRect((window == number).view(np.uint8))
    return left + x, top + y, left + x + width, top + y + height
