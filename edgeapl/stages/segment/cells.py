"""From nuclei to cells: lobes of one nucleus joined, debris dropped."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.segment.nuclei import MOST_LABELS, Bool, Int32, Mask
from edgeapl.stages.segment.reconstruction import NEIGHBOURS
from edgeapl.stages.segment.red_cells import BLUEST
from edgeapl.types import Float32, Int64

Float64 = NDArray[np.float64]


STAINED = 0.04
"""Green optical density from which a pixel is no background; twice what is left after the fit."""


@dataclass(frozen=True, slots=True)
class CellLimits:
    """Sizes of nuclei and cells, µm and µm².

    smallest_nucleus : a small lymphocyte's nucleus is about 28 µm², a pyknotic one 12 µm²;
        platelets reach 7 µm².
    smallest_cut : the same where the frame's edge cuts the nucleus.
    lobe_distance : centres of lobes of one granulocyte are closer than this.
    widest_lobed, largest_lobed, longest_lobed : lobes of one cell lie in a circle of this diameter,
        cover no more than this and form a figure of at most this length over breadth; two round
        nuclei side by side are twice as long as broad.
    widest_small, largest_small, longest_small : the same for smaller figures, such as the two lobes
        of an eosinophil or the ends of a band; two lymphocytes are larger.
    few : fragments with no more area are lobes of one nucleus even in a row: two nuclei have more.
    filled : share of nucleus and cytoplasm within the convex hull around lobes of one cell.
    cytoplasm : how far cytoplasm is looked for around the nucleus.
    rim : cytoplasm that is always assumed around a nucleus.
    """

    smallest_nucleus: float = 12.0
    smallest_cut: float = 8.0
    lobe_distance: float = 12.0
    widest_lobed: float = 19.0
    largest_lobed: float = 140.0
    longest_lobed: float = 1.55
    widest_small: float = 16.5
    largest_small: float = 92.0
    longest_small: float = 2.4
    few: float = 55.0
    filled: float = 0.75
    cytoplasm: float = 4.5
    rim: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Fragment:
    """One nucleus or lobe in the label image.

    number : its label. box : x0 y0 x1 y1 px, half-open. centre : x y px. area : µm².
    pixels : int64 (N,), where it is in the image, row by row.
    """

    number: int
    box: tuple[int, int, int, int]
    centre: tuple[float, float]
    area: float
    pixels: Int64


def fragments_of(labels: Int32, um_per_px: float) -> list[Fragment]:
    """Measure every label."""
    at = np.flatnonzero(labels != 0)  # numpy is quicker on bytes
    if not len(at):
        return []
    numbers = labels.ravel()[at]
    # Sorting 16 bits takes a fraction of the time.
    keys = numbers.astype(np.uint16) if int(numbers.max()) <= MOST_LABELS else numbers
    order = np.argsort(keys, kind="stable")
    at, numbers = at[order], numbers[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=0))
    ends = np.append(starts, len(at))[1:]
    rows, columns = np.divmod(at, labels.shape[1])
    areas = (ends - starts) * um_per_px**2
    left, right = np.minimum.reduceat(columns, starts), np.maximum.reduceat(columns, starts) + 1
    boxes = np.stack([left, rows[starts], right, rows[ends - 1] + 1], axis=1)
    x, y = (np.add.reduceat(values, starts) / (ends - starts) for values in (columns, rows))
    return [
        Fragment(number, (box[0], box[1], box[2], box[3]), centre, area, at[start:end])
        for number, box, centre, area, start, end in zip(
            numbers[starts].tolist(),
            boxes.tolist(),
            zip(x.tolist(), y.tolist(), strict=True),
            areas.tolist(),
            starts.tolist(),
            ends.tolist(),
            strict=True,
        )
    ]


def join_lobes(
    fragments: list[Fragment], labels: Int32, density: Float32, um_per_px: float, limits: CellLimits
) -> list[list[Fragment]]:
    """Group the fragments that are lobes of one nucleus, nearest first.

    Two groups are joined when together they are no larger than one nucleus can be and the convex
    hull around them shows nothing but nucleus and cytoplasm: lobes lie in one round cell, while
    between two cells there is often background or a red cell.

    Parameters
    ----------
    fragments, labels : the nuclei and lobes, and their int32 (H, W) label image.
    density : float32 (3, H, W), optical densities R G B.
    """
    groups = [[fragment] for fragment in fragments]
    home = list(range(len(fragments)))
    for _, i, j in _close_pairs(fragments, limits.lobe_distance / um_per_px):
        a, b = home[i], home[j]
        if a == b or not _one_nucleus([*groups[a], *groups[b]], labels, density, um_per_px, limits):
            continue
        groups[a] += groups[b]
        groups[b] = []
        home = [a if at == b else at for at in home]
    return [group for group in groups if group]


def _close_pairs(fragments: list[Fragment], reach: float) -> list[tuple[float, int, int]]:
    """Return (distance of the centres, i, j) of fragments closer than `reach` px, nearest first."""
    x, y = np.array([fragment.centre for fragment in fragments]).reshape(-1, 2).T
    pairs = []
    for i in range(len(fragments)):
        gaps = np.hypot(x[i + 1 :] - x[i], y[i + 1 :] - y[i])
        near = np.flatnonzero(gaps < reach)
        pairs += [(float(gaps[k]), i, i + 1 + int(k)) for k in near]
    return sorted(pairs)


def _one_nucleus(
    group: list[Fragment],
    labels: Int32,
    density: Float32,
    um_per_px: float,
    limits: CellLimits,
) -> bool:
    area = sum(fragment.area for fragment in group)
    x0, y0, x1, y1 = union_box(group)
    if area > limits.largest_lobed or max(x1 - x0, y1 - y0) * um_per_px > limits.widest_lobed:
        return False
    inside = np.zeros((y1 - y0, x1 - x0), dtype=np.uint8)
    for fragment in group:
        inside |= labels[y0:y1, x0:x1] == fragment.number
    hull = _hull(inside)
    _, sides, _ = cv2.minAreaRect(hull)
    diameter = 2 * cv2.minEnclosingCircle(hull)[1] * um_per_px
    length = max(sides) / max(min(sides), 1.0)
    compact = length <= limits.longest_lobed and diameter <= limits.widest_lobed
    small = diameter <= limits.widest_small and (
        (length <= limits.longest_small and area <= limits.largest_small) or area <= limits.few
    )
    if not (compact or small):
        return False
    hull_mask = cv2.fillConvexPoly(np.zeros_like(inside), hull, 1) > 0
    colours = density[:, y0:y1, x0:x1]
    # Too little for two nuclei: then the cytoplasm may have any colour.
    fitting = colours[1] > STAINED if area <= limits.few else white_cell_colour(colours)
    return bool((fitting | (inside > 0))[hull_mask].mean() >= limits.filled)


def _hull(inside: Mask) -> Int32:
    """Return the convex hull of a mask, int32 (N, 1, 2), x y; its edge alone has all corners."""
    inner = cv2.erode(inside, NEIGHBOURS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    corners = cv2.findNonZero(cv2.subtract(inside, inner))
    return np.asarray(cv2.convexHull(np.asarray(corners)), dtype=np.int32)


def white_cell_colour(density: Float32) -> Bool:
    """Tell nucleus and cytoplasm from red cells, which absorb blue as well, and from background.

    Parameters
    ----------
    density : float32 (3, H, W), optical densities R G B.
    """
    _, green, blue = density
    return np.asarray((green > STAINED) & (blue < 0.45 * green + 0.02), dtype=np.bool_)


def union_box(group: list[Fragment]) -> tuple[int, int, int, int]:
    """Return the smallest box around all fragments, px."""
    left, top, right, bottom = zip(*(fragment.box for fragment in group), strict=True)
    return min(left), min(top), max(right), max(bottom)


def nuclei_of_cells(
    groups: list[list[Fragment]], density: Float32, limits: CellLimits, bluest: float = BLUEST
) -> list[list[Fragment]]:
    """Leave out platelets, pointers and scale bars, by size and colour.

    Parameters
    ----------
    density : float32 (3, H, W), optical densities R G B.
    bluest : of `edgeapl.stages.segment.red_cells.bluest_nucleus`.
    """
    size = density.shape[1:]
    large = [group for group in groups if _is_large_enough(group, size, limits)]
    green, blue = means_over(large, density[1]), means_over(large, density[2])
    # Ink, dirt and scale bars absorb all colours alike; nuclei let blue through.
    return [large[row] for row in np.flatnonzero(blue < bluest * green)]


def _is_large_enough(group: list[Fragment], size: tuple[int, ...], limits: CellLimits) -> bool:
    height, width = size
    x0, y0, x1, y1 = union_box(group)
    cut = x0 == 0 or y0 == 0 or x1 == width or y1 == height
    area = sum(fragment.area for fragment in group)
    return area >= (limits.smallest_cut if cut else limits.smallest_nucleus)


def means_over(groups: list[list[Fragment]], plane: Float32) -> Float64:
    """Return the mean of a plane, float32 (H, W), over all pixels of each group, float64 (N,)."""
    if not groups:
        return np.empty(0)
    pixels = np.concatenate([fragment.pixels for group in groups for fragment in group])
    counts = np.array([sum(len(fragment.pixels) for fragment in group) for group in groups])
    starts = np.cumsum(counts) - counts
    values = plane.ravel().take(pixels).astype(np.float64)
    return np.asarray(np.add.reduceat(values, starts) / counts)
