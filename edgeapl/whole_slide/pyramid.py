"""A scan as OpenSlide reads it: levels of one picture, each smaller than the one before.

Label and macro images are never opened: they may show names of patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edgeapl.closable import ClosesItself
from edgeapl.errors import InputError
from edgeapl.types import UInt8
from edgeapl.wording.printable import printable

SUFFIXES = frozenset(
    {".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide"}
    | {".tif", ".tiff", ".btf", ".tf8", ".dcm"}
)

GENERIC = "generic-tiff"

LARGEST_IMAGE_PX = 30_000_000
"""A TIFF that names no scanner and is no larger than this is read as an ordinary image."""

PLAUSIBLE_UM_PER_PX = (0.03, 2.0)

EXTRA = "pip install 'edgeapl[slides]'"


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the picture. width, height : px. shrink : px of level 0 per px of this level."""

    width: int
    height: int
    shrink: float


class Pyramid(ClosesItself):
    """An open scan.

    Parameters
    ----------
    path : the file. openslide : the library.

    Raises InputError when it cannot be opened.
    """

    def __init__(self, path: Path, openslide: ModuleType) -> None:
        self._path = path
        self._library = openslide
        self._slide = self._opened()
        properties: Mapping[str, str] = self._slide.properties
        self.name = printable(path)
        self.um_per_px = _um_per_px(properties)
        self.has_profile = "openslide.icc-size" in properties
        self.levels = tuple(
            Level(width, height, shrink)
            for (width, height), shrink in zip(
                self._slide.level_dimensions, self._slide.level_downsamples, strict=True
            )
        )

    @property
    def width(self) -> int:
        """Width of level 0, px."""
        return self.levels[0].width

    @property
    def height(self) -> int:
        """Height of level 0, px."""
        return self.levels[0].height

    def level_for(self, shrink: float) -> int:
        """Return the smallest level that is no smaller than level 0 shrunk by `shrink`."""
        fitting = [n for n, level in enumerate(self.levels) if level.shrink <= shrink * 1.05]
        return max(fitting, key=lambda n: self.levels[n].shrink) if fitting else 0

    def read(self, level: int, x: int, y: int, width: int, height: int) -> UInt8:
        """Return a part of a level, uint8 (height, width, 3) RGB; white where nothing was scanned.

        x, y : its corner, px of level 0. width, height : px of this level.

        Raises InputError when that part is damaged; others can still be read.
        """
        try:
            image = self._slide.read_region((x, y), level, (width, height))
        except self._library.OpenSlideError as error:
            # After one error OpenSlide repeats it for every call.
            self._slide.close()
            self._slide = self._opened()
            where = f"{self.name} at {x}, {y}"
            raise InputError("part of the scan is damaged", where, str(error)) from error
        pixels = np.asarray(image, dtype=np.uint8)
        alpha = pixels[..., 3:]
        if (alpha == 255).all():
            return np.ascontiguousarray(pixels[..., :3])
        share = alpha.astype(np.float32) / 255
        return (pixels[..., :3] * share + 255 * (1 - share)).astype(np.uint8)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._slide.close()

    def _opened(self) -> Any:
        try:
            return self._library.OpenSlide(str(self._path))
        except (self._library.OpenSlideError, OSError) as error:
            which = printable(self._path)
            raise InputError("scan cannot be opened", which, str(error)) from error


def is_whole_slide(path: Path) -> bool:
    """Return whether a file is a scan that can be read here; always False without the extra."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    openslide = _library()
    if openslide is None:
        return False
    vendor = openslide.OpenSlide.detect_format(str(path))
    if vendor != GENERIC:
        return vendor is not None
    try:
        with openslide.OpenSlide(str(path)) as slide:
            width, height = slide.dimensions
            return bool(width * height > LARGEST_IMAGE_PX and slide.level_count > 1)
    except (openslide.OpenSlideError, OSError):
        return False


def open_pyramid(path: Path) -> Pyramid:
    """Open a scan. Raises InputError when it cannot be read or the extra is missing."""
    openslide = _library()
    if openslide is None:
        raise InputError("scans cannot be read here", printable(path), EXTRA)
    return Pyramid(path, openslide)


def _library() -> ModuleType | None:
    try:
        import openslide  # noqa: PLC0415 - an extra
    except (ImportError, OSError):  # the shared library may be missing
        return None
    return openslide  # type: ignore[no-any-return]


def _um_per_px(properties: Mapping[str, str]) -> float | None:
    """Return the mean of both directions if the scanner states a plausible scale."""
    sizes = []
    for key in ("openslide.mpp-x", "openslide.mpp-y"):
        try:
            sizes.append(float(properties.get(key, "")))
        except ValueError:
            return None
    mean = sum(sizes) / 2
    low, high = PLAUSIBLE_UM_PER_PX
    # A scale in one direction only, or different ones, would distort round cells.
    sound = math.isfinite(mean) and low <= mean <= high
    return mean if sound and abs(sizes[0] - sizes[1]) <= 0.02 * mean else None
