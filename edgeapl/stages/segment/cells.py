"""From nuclei to cells: lobes of one nucleus joined, debris dropped, cytoplasm added."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.segment.nuclei import Int32, disc
from edgeapl.types import Float32

Bool = NDArray[np.bool_]


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
    few : pieces that cover no more are lobes of one nucleus even in a row: two nuclei cover more.
    filled : share of nucleus and cytoplasm within the convex hull around lobes of one cell.
    blue : blue over green absorption of a nucleus; 0.0 to 0.34 where looked at, red cells and dirt
        above 0.5.
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
    blue: float = 0.43
    cytoplasm: float = 4.0
    rim: float = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One nucleus or lobe in the label image.

    number : its label. box : x0 y0 x1 y1 px, half-open. centre : x y px. area : µm².
    """

    number: int
    box: tuple[int, int, int, int]
    centre: tuple[float, float]
    area: float


def pieces_of(labels: Int32, um_per_px: float) -> list[Piece]:
    """Measure every label."""
    at = np.flatnonzero(labels)
    numbers = labels.ravel()[at]
    order = np.argsort(numbers, kind="stable")
    at, numbers = at[order], numbers[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=0))
    found = []
    for start, end in zip(starts, np.append(starts, len(at))[1:], strict=True):
        rows, columns = np.divmod(at[start:end], labels.shape[1])
        box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
        centre = (float(columns.mean()), float(rows.mean()))
        area = float(end - start) * um_per_px**2
        found.append(Piece(int(numbers[start]), box, centre, area))
    return found


def join_lobes(
    pieces: list[Piece], labels: Int32, density: Float32, um_per_px: float, limits: CellLimits
) -> list[list[Piece]]:
    """Group the pieces that are lobes of one nucleus, nearest first.

    Two groups are joined when together they are no larger than one nucleus can be and the convex
    hull around them shows nothing but nucleus and cytoplasm: lobes lie in one round cell, while
    between two cells there is often background or a red cell.

    Parameters
    ----------
    pieces, labels : the nuclei and lobes, and their int32 (H, W) label image.
    density : float32 (H, W, 3), optical densities R G B.
    """
    white = white_cell_colour(density)
    stained = density[..., 1] > STAINED
    groups = [[piece] for piece in pieces]
    pairs = sorted(
        (gap, i, j)
        for i in range(len(pieces))
        for j in range(i + 1, len(pieces))
        if (gap := _distance(pieces[i], pieces[j]) * um_per_px) < limits.lobe_distance
    )
    home = list(range(len(pieces)))
    for _, i, j in pairs:
        a, b = home[i], home[j]
        if a == b or not _one_nucleus(
            [*groups[a], *groups[b]], labels, stained, white, um_per_px, limits
        ):
            continue
        groups[a] += groups[b]
        groups[b] = []
        home = [a if at == b else at for at in home]
    return [group for group in groups if group]


def _distance(one: Piece, other: Piece) -> float:
    return float(np.hypot(one.centre[0] - other.centre[0], one.centre[1] - other.centre[1]))


def _one_nucleus(
    group: list[Piece],
    labels: Int32,
    stained: Bool,
    white: Bool,
    um_per_px: float,
    limits: CellLimits,
) -> bool:
    area = sum(piece.area for piece in group)
    x0, y0, x1, y1 = union_box(group)
    if area > limits.largest_lobed or max(x1 - x0, y1 - y0) * um_per_px > limits.widest_lobed:
        return False
    window = (slice(y0, y1), slice(x0, x1))
    inside = np.isin(labels[window], [piece.number for piece in group]).astype(np.uint8)
    hull = cv2.convexHull(np.asarray(cv2.findNonZero(inside)))
    _, sides, _ = cv2.minAreaRect(hull)
    diameter = 2 * cv2.minEnclosingCircle(hull)[1] * um_per_px
    length = max(sides) / max(min(sides), 1.0)
    compact = length <= limits.longest_lobed and diameter <= limits.widest_lobed
    small = diameter <= limits.widest_small and (
        (length <= limits.longest_small and area <= limits.largest_small) or area <= limits.few
    )
    if not (compact or small):
        return False
    around = cv2.fillConvexPoly(np.zeros_like(inside), hull, 1) > 0
    # Too little for two nuclei: then the cytoplasm may have any colour.
    fitting = stained if area <= limits.few else white
    return bool((fitting[window] | (inside > 0))[around].mean() >= limits.filled)


def white_cell_colour(density: Float32) -> Bool:
    """Tell nucleus and cytoplasm from red cells, which absorb blue as well, and from background.

    Parameters
    ----------
    density : float32 (H, W, 3), optical densities R G B.
    """
    green, blue = density[..., 1], density[..., 2]
    return np.asarray((green > STAINED) & (blue < 0.45 * green + 0.02), dtype=np.bool_)


def union_box(group: list[Piece]) -> tuple[int, int, int, int]:
    """Give the smallest box around all pieces, px."""
    boxes = np.array([piece.box for piece in group])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def is_cell(
    group: list[Piece],
    index: Float32,
    density: Float32,
    labels: Int32,
    um_per_px: float,
    limits: CellLimits,
) -> bool:
    """Tell a nucleus from a platelet, a pointer or a scale bar by size and colour."""
    height, width = labels.shape
    x0, y0, x1, y1 = union_box(group)
    cut = x0 == 0 or y0 == 0 or x1 == width or y1 == height
    area = sum(piece.area for piece in group)
    if area < (limits.smallest_cut if cut else limits.smallest_nucleus):
        return False
    window = (slice(y0, y1), slice(x0, x1))
    inside = np.isin(labels[window], [piece.number for piece in group])
    _, green, blue = density[window][inside].mean(axis=0)
    # Ink, dirt and scale bars absorb all colours alike; nuclei let blue through.
    return bool(blue < limits.blue * green)


def add_cytoplasm(nuclei: Int32, density: Float32, um_per_px: float, limits: CellLimits) -> Int32:
    """Grow every nucleus over its cytoplasm; where cells touch, the nearer nucleus takes it.

    Cytoplasm is stained but not like a red cell: within reach of the nucleus, at least a little
    absorbing, and blue absorption no more than that of the nucleus surroundings. A rim is always
    added, since pale cytoplasm is often as bright as the background.

    Parameters
    ----------
    nuclei : int32 (H, W), one label per cell.
    density : float32 (H, W, 3), optical densities R G B.
    """
    if not nuclei.any():
        return nuclei
    distance, nearest = cv2.distanceTransformWithLabels(
        (nuclei == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    distance = distance * np.float32(um_per_px)
    owner = np.zeros(int(nearest.max()) + 1, dtype=np.int32)
    owner[nearest[nuclei > 0]] = nuclei[nuclei > 0]
    owned = owner[nearest]
    smooth = cv2.GaussianBlur(density, (0, 0), 0.5 / um_per_px)
    red, green, blue = smooth[..., 0], smooth[..., 1], smooth[..., 2]
    stained = (green > 0.03) & (blue < 0.45 * green + 0.02) & (red > 0.35 * green)
    body = (distance <= limits.rim) | (stained & (distance <= limits.cytoplasm))
    body = cv2.morphologyEx(body.astype(np.uint8), cv2.MORPH_OPEN, disc(1.75, um_per_px)) > 0
    body |= nuclei > 0
    return np.where(body, owned, 0).astype(np.int32)
