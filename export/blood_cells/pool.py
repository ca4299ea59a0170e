"""Cells of the PBC set as the station's own segmenter cuts them, with room around for turning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.specs import CropSpec
from edgeapl.errors import InputError
from edgeapl.export.blood_cells.classes import FOLDERS
from edgeapl.sources.decode import read_image
from edgeapl.stages.crop import cut_windows
from edgeapl.stages.segment import HsvWatershed
from edgeapl.stages.whole_image import whole_crop
from edgeapl.types import Frame, UInt8

UM_PER_PX = 0.1 * 360 / 224
"""CellaVision's cell images are 360 px of 0.1 µm; this copy of the set was resized to 224. Its red
cells measure 0.165."""

CROP = CropSpec(window_um=24.0, size_px=112)
"""What the network sees: 24 µm, so that a promyelocyte of 22 µm fits, at 0.21 µm per px."""

WIDE = CropSpec(window_um=24.0 * 160 / 112, size_px=160)
"""What is kept: the same scale with a margin, so that a turned or enlarged cell has true ground."""

NEAR_UM = 4.0
"""The cell of an image lies this near to its middle; what lies farther off is another cell."""

PLATELET_UM = 2.5
"""Radius of the disc that stands for a platelet, which the segmenter leaves out on purpose."""

UNFOUND_UM = 8.0
"""The same for a cell that the segmenter did not find."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Cells with their class.

    cells : uint8 (N, 160, 160, 3) RGB. inside : bool (N, 160, 160), pixels of the cell.
    folder : int64 (N,), index into `FOLDERS`. number : int64 (N,), of the image's name.
    found : bool (N,), whether the segmenter found the cell.
    """

    cells: UInt8
    inside: NDArray[np.bool_]
    folder: NDArray[np.int64]
    number: NDArray[np.int64]
    found: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.cells)

    def only(self, rows: NDArray[np.bool_]) -> Pool:
        """Return some of the cells, bool (N,)."""
        return Pool(
            self.cells[rows],
            self.inside[rows],
            self.folder[rows],
            self.number[rows],
            self.found[rows],
        )


def read_pool(data: Path, cache: Path) -> Pool:
    """Segment and cut every image of the set; kept in the cache folder, since it takes minutes.

    Raises InputError when a folder of the set is missing or empty.
    """
    file = cache / "pbc.npz"
    if file.is_file():
        with np.load(file, allow_pickle=False) as saved:
            inside = np.unpackbits(saved["inside"], axis=-1).astype(np.bool_)
            return Pool(saved["cells"], inside, saved["folder"], saved["number"], saved["found"])
    rows = [
        (*_cell(image, image.parent.name), FOLDERS.index(image.parent.name), _number(image))
        for image in image_files(data)
    ]
    pool = Pool(
        np.stack([row[0] for row in rows]),
        np.stack([row[1] for row in rows]),
        np.array([row[3] for row in rows]),
        np.array([row[4] for row in rows]),
        np.array([row[2] for row in rows]),
    )
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(
        file,
        cells=pool.cells,
        inside=np.packbits(pool.inside, axis=-1),
        folder=pool.folder,
        number=pool.number,
        found=pool.found,
    )
    return pool


def image_files(data: Path) -> list[Path]:
    """Return the images of the set in the order of a pool. Raises InputError."""
    files: list[Path] = []
    for name in FOLDERS:
        found = sorted((data / name).glob("*.jpg"))
        if not found:
            raise InputError("the PBC set lacks a folder", data / name, "give its own folder")
        files += found
    return files


def _number(file: Path) -> int:
    return int(file.stem.rpartition("_")[2])


def _cell(file: Path, folder: str) -> tuple[UInt8, NDArray[np.bool_], bool]:
    """Cut one cell: uint8 (160, 160, 3), bool (160, 160), and whether it was found."""
    frame = Frame(read_image(file).pixels, 0, 0, UM_PER_PX, file.name, "0" * 64)
    middle = np.array([frame.width / 2, frame.height / 2])
    own = whole_crop(frame, HsvWatershed()).labels > 0
    found = not own.all() and folder != "platelet"
    centre = middle
    if found:
        rows, columns = np.nonzero(own)
        centre = np.array([columns.min() + columns.max() + 1, rows.min() + rows.max() + 1]) / 2
        found = bool(np.linalg.norm(centre - middle) * UM_PER_PX <= NEAR_UM)
    if not found:
        centre = middle
        radius = (PLATELET_UM if folder == "platelet" else UNFOUND_UM) / UM_PER_PX
        y, x = np.mgrid[: frame.height, : frame.width]
        own = np.hypot(x - middle[0], y - middle[1]) <= radius
    at = centre[None].astype(np.float32)
    cell = cut_windows(frame.pixels, at, UM_PER_PX, WIDE)[0]
    mask = np.repeat(own[..., None].astype(np.uint8) * 255, 3, axis=2)
    inside = cut_windows(mask, at, UM_PER_PX, WIDE)[0, ..., 0] > 127
    return cell, np.asarray(inside), found


def shown(cells: UInt8) -> UInt8:
    """Return what the network is shown of wide cells, uint8 (N, 112, 112, 3)."""
    edge = (WIDE.size_px - CROP.size_px) // 2
    return np.ascontiguousarray(cells[:, edge:-edge, edge:-edge])


def contact_sheet(cells: UInt8, columns: int = 12) -> UInt8:
    """Return cells side by side, to be looked at."""
    rows = [
        cv2.hconcat(list(cells[at : at + columns]))
        for at in range(0, len(cells) - len(cells) % columns, columns)
    ]
    return np.asarray(cv2.vconcat(rows), np.uint8)
