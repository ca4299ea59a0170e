"""Drawn scans of whole slides: pyramids in TIFF, as OpenSlide's generic reader takes them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from edgeapl.sources.demo import DemoSource
from edgeapl.types import UInt8

TILE = 512
SHRINKS = (1, 4, 16)
GLASS = np.array([238, 232, 236], np.float32)
RED_CELL = np.array([0.03, 0.14, 0.13], np.float32)
NUCLEUS = np.array([0.45, 0.6, 0.15], np.float32)

Part = Callable[[int, int, int, int], UInt8]
"""Gives rows and columns, from and to, of a picture: uint8 (H, W, 3) RGB."""


def write_scan(path: Path, height: int, width: int, part: Part, um_per_px: float | None) -> None:
    """Write a pyramid of three levels, tile by tile.

    part : of the picture at a shrink of 4; level 0 is made of it by enlarging.
    """
    resolution = None if um_per_px is None else 10_000 / um_per_px
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for shrink in SHRINKS:
            shape = (height // shrink, width // shrink, 3)
            where = None if resolution is None else (resolution / shrink, resolution / shrink)
            file.write(
                _tiles(part, shape[0], shape[1], shrink),
                shape=shape,
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 90},
                resolution=where,
                resolutionunit="CENTIMETER" if where else None,
                subfiletype=0 if shrink == 1 else 1,
                metadata=None,
            )


def _tiles(part: Part, height: int, width: int, shrink: int) -> Iterator[UInt8]:
    wide = round(TILE * shrink / 4)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            y, x = top * shrink // 4, left * shrink // 4
            given = part(y, y + wide, x, x + wide)
            tile = np.full((TILE, TILE, 3), 255, np.uint8)
            if given.size:
                high, across = (round(side * 4 / shrink) for side in given.shape[:2])
                how = cv2.INTER_CUBIC if shrink < 4 else cv2.INTER_AREA
                made = cv2.resize(given, (across, high), interpolation=how)[:TILE, :TILE]
                tile[: made.shape[0], : made.shape[1]] = made
            yield tile


def of_canvas(canvas: UInt8) -> Part:
    """Give parts of a picture that is there as a whole."""
    return lambda top, bottom, left, right: canvas[top:bottom, left:right]


def patch(spacing: float, side: int, seed: int, *, jitter: float, radius: float = 3.7) -> UInt8:
    """Draw red cells of 7.4 µm so far apart, and a nucleus here and there, at 1 µm per px."""
    random = np.random.default_rng(seed)
    fine = 2
    density = np.zeros((side * fine, side * fine), np.float32)
    nuclei = np.zeros_like(density)
    one = np.zeros((24, 24), np.float32)
    cv2.circle(one, (12, 12), round(radius * fine), 1.0, -1)
    cv2.circle(one, (12, 12), round(radius * fine * 0.35), 0.6, -1)
    for y in np.arange(0, side, spacing):
        for x in np.arange(0, side, spacing):
            at = (np.array([y, x]) + random.uniform(-jitter, jitter, 2)) * fine
            top, left = (int(np.clip(value, 0, side * fine - 24)) for value in at)
            density[top : top + 24, left : left + 24] += one
    for y, x in random.uniform(0, side * fine, (max(1, side * side // 12_000), 2)):
        cv2.circle(nuclei, (int(x), int(y)), 9, 1.0, -1)
    stain = np.minimum(density, 4)[..., None] * RED_CELL * (1 - nuclei[..., None])
    stain += nuclei[..., None] * NUCLEUS
    light = GLASS * 10**-stain
    light = np.asarray(cv2.resize(light, (side, side), interpolation=cv2.INTER_AREA))
    noisy = light + random.normal(0, 1.5, light.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def smear(height: int, width: int, zones: dict[str, tuple[float, float]], seed: int = 0) -> UInt8:
    """Draw a smear at 1 µm per px, from its thick end on the left to the feathered edge.

    zones : where along the width `thick`, `monolayer` and `edge` lie, as shares; glass elsewhere.
    """
    random = np.random.default_rng(seed)
    canvas = np.clip(GLASS + random.normal(0, 1.5, (height, width, 3)), 0, 255).astype(np.uint8)
    kinds = {"thick": (4.2, 2.0), "monolayer": (10.0, 0.9), "edge": (26.0, 9.0)}
    margin = height // 10
    side = 500
    for kind, (start, end) in zones.items():
        spacing, jitter = kinds[kind]
        patches = [patch(spacing, side, seed + n, jitter=jitter) for n in range(3)]
        left, right = round(start * width), round(end * width)
        for top in range(margin, height - margin, side):
            for x in range(left, right, side):
                high, wide = min(side, height - margin - top), min(side, right - x)
                some = np.rot90(patches[random.integers(3)], int(random.integers(4)))
                canvas[top : top + high, x : x + wide] = some[:high, :wide]
    return canvas


def torn(canvas: UInt8, seed: int = 0) -> UInt8:
    """Leave streaks and crumbs of what was there, as marrow particles and fat do."""
    random = np.random.default_rng(seed)
    height, width = canvas.shape[:2]
    stain = np.zeros((height, width), np.float32)
    for _ in range(height * width // 40_000):
        at = (int(random.integers(width)), int(random.integers(height)))
        axes = (int(random.integers(40, 160)), int(random.integers(30, 120)))
        cv2.ellipse(stain, at, axes, float(random.uniform(0, 180)), 0, 360, 1.0, -1)
    for _ in range(height * width // 8_000):
        at = (int(random.integers(width)), int(random.integers(height)))
        cv2.circle(stain, at, int(random.integers(10, 30)), 0.0, -1)
    light = GLASS * 10 ** -(stain[..., None] * NUCLEUS * 1.4)
    return np.clip(light + random.normal(0, 1.5, light.shape), 0, 255).astype(np.uint8)


def seen_share(found: list[tuple[int, int]], inside: NDArray[np.bool_]) -> float:
    """Share of tiles, row and column, that lie where `inside` says."""
    return float(np.mean([inside[at] for at in found]))


UM_DRAWN = 0.15
"""µm per px of drawn fields."""


def drawn_canvas(kind: str, rows: int = 4, columns: int = 5) -> UInt8:
    """Draw fields that lie side by side, uint8 (H, W, 3) RGB."""
    source = DemoSource.from_address(f"demo://{kind}?seed=1&frames={rows * columns}")
    fields = [source.read(1).pixels for _ in range(rows * columns)]
    bands = [np.hstack(fields[row * columns : (row + 1) * columns]) for row in range(rows)]
    return np.asarray(np.vstack(bands), np.uint8)


def drawn_scan(
    path: Path,
    kind: str,
    rows: int = 4,
    columns: int = 5,
    damaged_at: Sequence[tuple[int, int]] = (),
) -> None:
    """Write a scan of drawn fields that lie side by side.

    damaged_at : x and y of points, px of level 0, whose packed tiles are overwritten.
    """
    canvas = drawn_canvas(kind, rows, columns)
    with tifffile.TiffWriter(path) as file:
        for shrink in (1, 4):
            size = (canvas.shape[1] // shrink, canvas.shape[0] // shrink)
            level = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
            density = 10_000 / UM_DRAWN / shrink
            file.write(
                np.asarray(level), tile=(256, 256), photometric="rgb", compression="deflate",
                compressionargs={"level": 1},
                resolution=(density, density), resolutionunit="CENTIMETER",
                subfiletype=0 if shrink == 1 else 1, metadata=None,
            )  # fmt: skip
    for x, y in damaged_at:
        damage(path, x, y)


def damage(path: Path, x: int, y: int) -> None:
    """Overwrite the packed tile of level 0 that holds a point."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        side = page.tilewidth
        number = y // side * -(-page.imagewidth // side) + x // side
        start, size = page.dataoffsets[number], page.databytecounts[number]
    with path.open("r+b") as raw:
        raw.seek(start)
        raw.write(b"\x00" * size)


_PROGRAM = """
import sys
from edgeapl.cli.main import main
from edgeapl.scoring import slides
from edgeapl.whole_slide import opening
opening.LARGEST_IMAGE_PX, slides.FIRST_LOOK = 10_000_000, int(sys.argv.pop(1))
main()
"""


def program_for_small_scans(*arguments: str | Path, first_look: int = 400) -> list[str]:
    """Return a command line of the program that takes drawn scans for scans."""
    return [sys.executable, "-c", _PROGRAM, str(first_look), *map(str, arguments)]
