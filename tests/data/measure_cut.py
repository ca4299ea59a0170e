"""How many whole cells are taken for cut, and how many cut ones are found.

``python tests/data/measure_cut.py DATA`` prints a table in Markdown. Cut cells are made of whole
ones, which the edge of their image does not touch: a square, 1.3 or 1.8 times as wide as the cell,
is taken out so that it ends where some of the cell's width or height is left.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeapl.sources.decode import read_image
from edgeapl.stages.cut_cell import CUT_SHARE, is_cut, share_on_edge
from edgeapl.stages.segment import HsvWatershed
from edgeapl.stages.whole_image import whole_crop
from edgeapl.types import Detections, Frame, UInt8

# Folder, µm per px, every n-th image.
CELLS = {"deepapl_discovery": (0.1, 12), "pbc224": (0.1, 20), "aml_lmu_sample": (0.07, 1)}
KEPT, AS_WIDE = (0.5, 0.6, 0.7, 0.85), (1.3, 1.8)
SEGMENTER = HsvWatershed()


def found(pixels: UInt8, um_per_px: float) -> Detections:
    frame = Frame(np.ascontiguousarray(pixels), 0, 0, um_per_px, "cell", "0" * 64)
    return whole_crop(frame, SEGMENTER)


def cut(pixels: UInt8, cell: Detections) -> Iterator[UInt8]:
    rows, columns = (np.flatnonzero((cell.labels > 0).any(axis=axis)) for axis in (1, 0))
    (top, bottom), (left, right) = (rows[0], rows[-1]), (columns[0], columns[-1])
    y, x = (top + bottom) // 2, (left + right) // 2
    for kept in KEPT:
        end, start = round(left + kept * (right - left)), round(bottom - kept * (bottom - top))
        for wide in AS_WIDE:
            side = round(wide * max(right - left, bottom - top))
            yield pixels[max(0, y - side // 2) : y + side // 2, max(0, end - side) : end]
            yield pixels[start : start + side, max(0, x - side // 2) : x + side // 2]


def main(data: Path) -> None:
    print("| set | images | taken for cut | cut ones | end at the edge | found |")
    for folder, (um_per_px, step) in CELLS.items():
        names = sorted(p for p in (data / folder).rglob("*") if p.suffix in {".jpg", ".tiff"})
        images = (read_image(path).pixels for path in names[::step])
        whole = [(pixels, found(pixels, um_per_px)) for pixels in images]
        untouched = [(pixels, one) for pixels, one in whole if share_on_edge(one.labels > 0) == 0]
        made = [found(part, um_per_px) for one in untouched for part in cut(*one)]
        ends = [
            one
            for one in made
            if not one.labels.all() and share_on_edge(one.labels > 0) > CUT_SHARE
        ]
        counts = [len(whole), sum(is_cut(one) for _, one in whole), len(made), len(ends)]
        print(f"| {folder} |", *(f"{n} |" for n in (*counts, sum(map(is_cut, ends)))), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
