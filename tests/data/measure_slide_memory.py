"""Score a drawn scan of 100,000 x 80,000 px: the most memory that it takes.

    python -m tests.data.measure_slide_memory [--folder FOLDER]

A drawn smear of 20,000 x 15,000 px lies in the middle; the rest is empty glass, one compressed tile
written many times, so that the file has 200 MB. Needs the extra ``slides``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import tifffile

from edgeapl.types import UInt8
from tests.scans import GLASS, TILE, smear

HEIGHT, WIDTH = 80_000, 100_000
TOP, LEFT = 30_000, 40_000
DRAWN = 4
UM_PER_PX = 0.25
ZONES = {"thick": (0.06, 0.4), "monolayer": (0.4, 0.68), "edge": (0.68, 0.9)}


def write(path: Path) -> None:
    """Write the scan: four levels, each a fourth of the one before."""
    canvas = smear(3750, 5000, ZONES)
    resolution = 10_000 / UM_PER_PX
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for shrink in (1, 4, 16, 64):
            height, width = HEIGHT // shrink, WIDTH // shrink
            file.write(
                _tiles(canvas, height, width, shrink),
                shape=(height, width, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="rgb",
                compression="jpeg",
                resolution=(resolution / shrink, resolution / shrink),
                resolutionunit="CENTIMETER",
                subfiletype=0 if shrink == 1 else 1,
                metadata=None,
            )


def _tiles(canvas: UInt8, height: int, width: int, shrink: int) -> Iterator[bytes]:
    """Yield compressed tiles, row by row."""
    blank = _encoded(np.full((TILE, TILE, 3), GLASS, np.uint8))
    side = max(1, TILE * shrink // DRAWN)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            y, x = (top * shrink - TOP) // DRAWN, (left * shrink - LEFT) // DRAWN
            rows = slice(max(0, y), max(0, y + side))
            columns = slice(max(0, x), max(0, x + side))
            some = canvas[rows, columns]
            if not some.size:
                yield blank
                continue
            part = np.full((side, side, 3), GLASS, np.uint8)
            y, x = rows.start - y, columns.start - x
            part[y : y + some.shape[0], x : x + some.shape[1]] = some
            how = cv2.INTER_CUBIC if shrink < DRAWN else cv2.INTER_AREA
            yield _encoded(np.asarray(cv2.resize(part, (TILE, TILE), interpolation=how), np.uint8))


def _encoded(pixels: UInt8) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=90))


def main() -> None:
    """Write the scan, score it with the bundle that comes with the program, and print the peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        scans, out = Path(folder) / "scans", Path(folder) / "out"
        scans.mkdir()
        write(scans / "slide.tif")
        size = (scans / "slide.tif").stat().st_size
        start = time.perf_counter()
        journal = ["--journal", str(Path(folder) / "journal.db")]
        command = [sys.executable, "-m", "edgeapl", "score", str(scans), "--out", str(out)]
        subprocess.run([*command, *journal], check=True)
        took = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        (verdict,) = out.rglob("verdict.json")
        scan = json.loads(verdict.read_text())["scan"]
    tiles = f"{scan['tiles_examined']} of {scan['tiles_with_tissue']} tiles with tissue examined"
    print(
        f"{WIDTH} x {HEIGHT} px, {size / 1e6:.0f} MB: {peak:.2f} GiB at most, {took:.0f} s, {tiles}"
    )


if __name__ == "__main__":
    main()
