"""Share of good real images that are not examined whole, and of damaged ones that are.

``python tests/data/measure_area.py DATA`` prints tables in Markdown: fields of view that lost a
part, fields that were altered, and images of single cells. DATA is the folder with the public sets.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from edgeapl.sources.decode import read_image
from edgeapl.stages.area import judge_tiles
from edgeapl.stages.cut_cell import is_cut
from edgeapl.stages.detail import detail_of
from edgeapl.stages.focus import focus_measure
from edgeapl.stages.segment import HsvWatershed
from edgeapl.stages.whole_image import whole_crop
from edgeapl.types import Frame, UInt8
from tests.damage import DAMAGED

LEAST, MIN_FOCUS = 0.95, 1.4

# Folder, µm per px judged from red cells of 7.3 µm.
FIELDS = {
    "bccd/JPEGImages": 0.075,
    "chula_wbc/images": 0.165,
    "chula_rbc_negative/images": 0.105,
    "draaslan/images": 0.11,
    "segpc_bone_marrow/images": 0.08,
    "deepapl_discovery_overview": 0.185,
    "violet_rbc/images": 0.1,
}
# Folder, µm per px, every n-th image.
CELLS = {
    "deepapl_discovery": (0.1, 1),
    "pbc224": (0.1, 4),
    "segmentation_wbc/dataset1": (0.16, 1),
    "aml_lmu_sample": (0.07, 1),
}
BLURS_PX = (1.0, 1.25, 1.5, 1.75)
OUTLIERS, MARGIN = 0.01, 0.2  # as `edgeapl calibrate` sets the limit


def images(folder: Path, step: int = 1) -> Iterator[UInt8]:
    endings = {".jpg", ".bmp", ".tiff", "" if "segm" in str(folder) else ".png"}
    for path in sorted(path for path in folder.rglob("*") if path.suffix in endings)[::step]:
        yield read_image(path).pixels


LOST = ("black third", "dim", "blurred", "lost blocks", "without red", "veiled")
ALTERED = (
    "coarse",
    "coarse, packed again",
    "median",
    "slightly defocused",
    "moved",
    "blurred spots",
    "doubled",
    "doubled, packed again",
    "mirrored",
    "mirrored, packed again",
    "upper half again, packed again",
    "colours shifted",
    "blue shifted",
    "blocks shuffled",
    "blocks shuffled, packed again",
)


def measure_fields(data: Path) -> None:
    table(["set", "fields that pass the gate", f"below {LEAST}", "least share", *LOST])
    altered = []
    for folder, um_per_px in FIELDS.items():
        fields = [x for x in images(data / folder) if focus_measure(x, um_per_px) >= MIN_FOCUS]
        clean = [judge_tiles(x, um_per_px, MIN_FOCUS).examined_share for x in fields]
        some = fields[:: max(1, len(fields) // 12)]
        low = sum(share < LEAST for share in clean)
        name = folder.split("/")[0]
        table([name, len(fields), low, f"{min(clean):.2f}", *noticed(some, um_per_px, LOST)])
        altered.append([name, *noticed(some, um_per_px, ALTERED)])
    table(["set", *ALTERED])
    for row in altered:
        table(row)


def noticed(fields: list[UInt8], um_per_px: float, names: tuple[str, ...]) -> list[str]:
    """Give the share of fields that are noticed with each damage."""
    found = []
    for name in names:
        lost = (judge_tiles(DAMAGED[name](x), um_per_px, MIN_FOCUS) for x in fields)
        found.append(f"{np.mean([tiles.examined_share < LEAST for tiles in lost]):.2f}")
    return found


def measure_cells(data: Path) -> None:
    columns = ["set", "images", "limit of the other half", "below it", "cut", "not whole in light"]
    table([*columns, *(f"blur {sigma:g} px: found" for sigma in BLURS_PX)])
    for folder, (um_per_px, step) in CELLS.items():
        cells = list(images(data / folder, step))
        details = np.array([detail_of(x) for x in cells])
        limit = float(np.quantile(details[::2], OUTLIERS)) - MARGIN
        blurred = [
            np.mean([detail_of(cv2.GaussianBlur(x, (0, 0), sigma)) < limit for x in cells[1::2]])  # type: ignore[arg-type]
            for sigma in BLURS_PX
        ]
        segmenter = HsvWatershed()
        frames = [Frame(x, 0, 0, um_per_px, "cell", "0" * 64) for x in cells]
        cut = sum(is_cut(whole_crop(frame, segmenter)) for frame in frames)
        dark = sum(judge_tiles(x, um_per_px, 0).examined_share < 0.9 for x in cells)
        below = int((details[1::2] < limit).sum())
        row = [folder.split("/")[0], len(cells), f"{limit:.2f}", below, cut, dark]
        table([*row, *(f"{share:.3f}" for share in blurred)])


def table(cells: Sequence[object]) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    measure_fields(Path(sys.argv[1]))
    measure_cells(Path(sys.argv[1]))
