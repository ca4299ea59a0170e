"""Cut cells out of a frame the way the networks were trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import cv2
import numpy as np

from edgeapl.bundle.specs import CropSpec, Cut
from edgeapl.stages.colour_transfer import move_of, moved
from edgeapl.types import Detections, Float32, Int32, Int64, UInt8, UInt16

Pixels = TypeVar("Pixels", UInt8, UInt16)

Square = tuple[int, int, int, int]
"""Left, top, width and height in px; may reach over the edge of the frame."""


def cut_cells(detections: Detections, spec: CropSpec, *, cell_image: bool = False) -> UInt8:
    """Cut out every cell and bring it to the networks' size.

    Where a cut reaches over the edge of the frame, the edge pixels are repeated. Shrinking
    averages areas, growing interpolates linearly, so no pixel of the cell is skipped. Where the
    bundle moves colours, the frame must know its own (`edgeapl.stages.colour_transfer`).

    Parameters
    ----------
    detections : N cells.
    spec : what is cut and to which size; see `CropSpec`.
    cell_image : the frame is an image of one cell.

    Returns
    -------
    uint8 (N, size_px, size_px, 3) RGB.
    """
    crops = np.empty((len(detections), spec.size_px, spec.size_px, 3), dtype=np.uint8)
    for row, place in enumerate(cut_places(detections, spec, cell_image=cell_image)):
        _cut(detections, spec, row, place, crops[row])
    return crops


def cut_places(detections: Detections, spec: CropSpec, *, cell_image: bool = False) -> list[Square]:
    """Return the squares that `cut_cells` cuts out, one per cell."""
    how = spec.cell_image_cut if cell_image else spec.cut
    if how != "window":
        return [_in_box(box, how) for box in detections.boxes]
    side = _window_px(spec, detections.frame.um_per_px)
    return [_window_at(centre, side) for centre in detections.centres]


@dataclass(frozen=True, slots=True, eq=False)
class UncutCells:
    """Cells that are still part of their frame, to be cut later or elsewhere.

    rows : int64 (N,), rows of the cells in the detections.
    squares : int32 (N, 4), left, top, width and height of what is to be cut, px.
    """

    detections: Detections
    spec: CropSpec
    rows: Int64
    squares: Int32

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Int64) -> UncutCells:
        """Return some of the cells, int64 (K,), in the order given."""
        return UncutCells(self.detections, self.spec, self.rows[rows], self.squares[rows])

    def cut(self) -> UInt8:
        """Cut them all out, as `cut_cells` does."""
        size = self.spec.size_px
        cells = [self.cut_one(row) for row in range(len(self))]
        return np.stack(cells) if cells else np.empty((0, size, size, 3), dtype=np.uint8)

    def cut_one(self, row: int) -> UInt8:
        """Cut one of them out as `cut_cells` does: uint8 (size_px, size_px, 3) RGB."""
        crop = np.empty((self.spec.size_px, self.spec.size_px, 3), dtype=np.uint8)
        left, top, width, height = self.squares[row].tolist()
        place = left, top, width, height
        _cut(self.detections, self.spec, int(self.rows[row]), place, crop)
        return crop


CellImages: TypeAlias = UInt8 | UncutCells
"""Images of cells, uint8 (N, size, size, 3) RGB, or where they are to be cut."""


def uncut_cells(detections: Detections, spec: CropSpec) -> UncutCells:
    """Describe what `cut_cells` would cut, and cut nothing."""
    squares = np.array(cut_places(detections, spec), dtype=np.int32).reshape(-1, 4)
    return UncutCells(detections, spec, np.arange(len(detections), dtype=np.int64), squares)


def cut_windows(
    pixels: UInt8,
    centres: Float32,
    um_per_px: float,
    spec: CropSpec,
    move: Float32 | None = None,
) -> UInt8:
    """Cut windows around points, float32 (N, 2) x y in px, where nothing was detected.

    move : of the frame's colours, `edgeapl.stages.colour_transfer.move_of`.
    """
    if (move is None) != (spec.colours is None):
        raise ValueError("colours are moved where the bundle says so, and nowhere else")
    crops = np.empty((len(centres), spec.size_px, spec.size_px, 3), dtype=np.uint8)
    for row, centre in enumerate(centres):
        cell = _pixels(pixels, _window_at(centre, _window_px(spec, um_per_px)))
        _resize(cell if move is None else moved(cell, move), spec, crops[row])
    return crops


def _cut(detections: Detections, spec: CropSpec, row: int, place: Square, crop: UInt8) -> None:
    """Cut one cell out and write it into `crop`."""
    seen = _pixels(detections.frame.pixels, place)
    move = move_of(detections.frame, spec)
    cell = seen if move is None else moved(seen, move)
    if spec.mask:
        cell = _masked(cell, detections, row, place)
    _resize(cell, spec, crop)


def _window_px(spec: CropSpec, um_per_px: float) -> int:
    return max(1, round(spec.window_um / um_per_px))


def _window_at(centre: Float32, side: int) -> Square:
    return (
        round(float(centre[0]) - side / 2),
        round(float(centre[1]) - side / 2),
        side,
        side,
    )


def _in_box(box: Float32, how: Cut) -> Square:
    left, top = int(np.floor(box[0])), int(np.floor(box[1]))
    width, height = int(np.ceil(box[2])) - left, int(np.ceil(box[3])) - top
    if how == "box":
        return left, top, width, height
    side = min(width, height)
    return left + (width - side) // 2, top + (height - side) // 2, side, side


def _pixels(pixels: Pixels, place: Square, outside: int | None = None) -> Pixels:
    """Return a part of an image; beyond its edge, the edge repeated or the given value."""
    left, top, width, height = place
    right, bottom = left + width, top + height
    rows, columns = pixels.shape[:2]
    inside = pixels[
        min(max(top, 0), rows - 1) : max(min(bottom, rows), 1),
        min(max(left, 0), columns - 1) : max(min(right, columns), 1),
    ]
    if inside.shape[:2] == (height, width):
        return inside
    above, before = max(-top, 0), max(-left, 0)
    return np.asarray(
        cv2.copyMakeBorder(
            inside,
            above,
            height - inside.shape[0] - above,
            before,
            width - inside.shape[1] - before,
            cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT,
            value=outside or 0,
        ),
        dtype=pixels.dtype,
    )


def _masked(
    cell: UInt8 | Float32, detections: Detections, row: int, place: Square
) -> UInt8 | Float32:
    """Blacken the pixels of other cells and of the ground."""
    own = _pixels(detections.labels, place, outside=0) == row + 1
    masked: UInt8 | Float32 = cell * own[..., None]
    return masked


def _resize(cell: UInt8 | Float32, spec: CropSpec, crop: UInt8) -> None:
    """Bring a cut to its size and write it, rounded, into the row `crop`."""
    size = spec.resized_px or spec.size_px
    shrinks = cell.shape[0] >= size and cell.shape[1] >= size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    if size == spec.size_px and cell.dtype == np.uint8:
        cv2.resize(cell, (size, size), dst=crop, interpolation=how)
        return
    resized = cv2.resize(cell, (size, size), interpolation=how)
    edge = (size - spec.size_px) // 2
    middle = resized[edge : edge + spec.size_px, edge : edge + spec.size_px]
    crop[...] = middle if middle.dtype == np.uint8 else np.rint(middle)
