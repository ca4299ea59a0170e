"""How alike cells of different patients look, and how many changed copies are found.

python tests/data/measure_duplicates.py COHORT LABELS: a folder of patients with single-cell images.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from edgeapl.bundle.specs import CropSpec
from edgeapl.export.training import duplicates
from edgeapl.export.training.cell_pool import CellPool, Cutting, load_pool
from edgeapl.export.training.labelled_set import read_labelled_set
from edgeapl.types import UInt8

CROP = CropSpec(window_um=36.0, size_px=128, resized_px=144, cell_image_cut="square")
COPIES = 200


def main(folder: Path, labels: Path) -> None:
    labelled = read_labelled_set(folder, labels, crops=True)
    cutting = Cutting(CROP, "field", True, 0.1, 0.1)
    pool = load_pool(labelled, cutting, lambda done, images: None)
    print(f"{len(pool)} cells of {len(set(pool.patients))} patients")
    for limit in (0.5, 0.6, 0.7, duplicates.ALIKE):
        pairs = list(duplicates.near_duplicates(pool.crops, pool.patients, limit))
        print(f"pairs of two patients whose details correlate with at least {limit}: {len(pairs)}")
    for name, change in CHANGES.items():
        print(f"copies found, {name}: {found(pool, change)} of {COPIES}")


def found(pool: CellPool, change: Callable[[UInt8], UInt8]) -> int:
    """Count the cells of which a changed copy under another patient is found."""
    rows = np.linspace(0, len(pool) - 1, COPIES).round().astype(int)
    some = pool.crops[rows]
    both = np.concatenate([some, np.stack([change(crop) for crop in some])])
    names = [f"{side} {row}" for side in ("original", "copy") for row in range(len(rows))]
    pairs = duplicates.near_duplicates(both, names)
    return len({one for one, other in pairs if other == one + len(rows)})


def jpeg(quality: int) -> Callable[[UInt8], UInt8]:
    def saved(crop: UInt8) -> UInt8:
        _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)

    return saved


def resized(side: int) -> Callable[[UInt8], UInt8]:
    def there_and_back(crop: UInt8) -> UInt8:
        small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, crop.shape[:2]), dtype=np.uint8)

    return there_and_back


def moved(px: int) -> Callable[[UInt8], UInt8]:
    def shifted(crop: UInt8) -> UInt8:
        move = np.array([[1, 0, px], [0, 1, px]], dtype=np.float32)
        made = cv2.warpAffine(crop, move, crop.shape[:2], borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(made, dtype=np.uint8)

    return shifted


def turned(degrees: float) -> Callable[[UInt8], UInt8]:
    def around(crop: UInt8) -> UInt8:
        middle = (crop.shape[1] / 2, crop.shape[0] / 2)
        move = cv2.getRotationMatrix2D(middle, degrees, 1.0)
        made = cv2.warpAffine(crop, move, crop.shape[:2], borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(made, dtype=np.uint8)

    return around


def enlarged(times: float) -> Callable[[UInt8], UInt8]:
    def closer(crop: UInt8) -> UInt8:
        middle = (crop.shape[1] / 2, crop.shape[0] / 2)
        move = cv2.getRotationMatrix2D(middle, 0, times)
        return np.asarray(cv2.warpAffine(crop, move, crop.shape[:2]), dtype=np.uint8)

    return closer


CHANGES: dict[str, Callable[[UInt8], UInt8]] = {
    "JPEG of quality 60": jpeg(60),
    "JPEG of quality 20": jpeg(20),
    "resized to a third and back": resized(43),
    "brighter by 15 %": lambda crop: np.clip(crop * 1.15, 0, 255).astype(np.uint8),
    "turned by a quarter": lambda crop: np.rot90(crop).copy(),
    "mirrored": lambda crop: crop[:, ::-1].copy(),
    "moved by 1 % of the side": moved(1),
    "moved by 3 % of the side": moved(4),
    "turned by 3 degrees": turned(3),
    "moved by 6 % of the side": moved(8),
    "turned by 20 degrees": turned(20),
    "turned by 100 degrees": turned(100),
    "made larger by 3 %": enlarged(1.03),
}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
