"""A scan as OpenSlide reads it: levels of one picture, each smaller than the one before.

Label and macro images are never opened: names of patients stand on them.
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
"""A TIFF without a scanner's name that is no larger is an image like others and read as a whole."""

PLAUSIBLE_UM_PER_PX = (0.03, 2.0)

EXTRA = "pip install 'edgeapl[slides]'"


@dataclass(frozen=True, slots=True)
class Level:
    """One size of the picture. width, height : px. shrink : px of level 0 in one of its px."""

    width: int
    height: int
    shrink: float


class Pyramid(ClosesItself):
    """An open scan.

    Parameters
    ----------
    path : the file. openslide : the library.

    Raises InputError when it can not be opened.
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
        """Of level 0, px."""
        return self.levels[0].width

    @property
    def height(self) -> int:
        """Of level 0, px."""
        return self.levels[0].height

    def level_for(self, shrink: float) -> int:
        """Give the smallest level that is no smaller than level 0 shrunk so much."""
        fitting = [n for n, level in enumerate(self.levels) if level.shrink <= shrink * 1.05]
        return max(fitting, key=lambda n: self.levels[n].shrink) if fitting else 0

    def read(self, level: int, x: int, y: int, width: int, height: int) -> UInt8:
        """Give a part of a level, uint8 (height, width, 3) RGB; white where nothing was scanned.

        x, y : of its corner, px of level 0. width, height : px of the level.

        Raises InputError when that part is damaged; others can still be read.
        """
        try:
            image = self._slide.read_region((x, y), level, (width, height))
        except self._library.OpenSlideError as error:
            # After one error the library answers every call with it.
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
            raise InputError("scan can not be opened", which, str(error)) from error


def is_whole_slide(path: Path) -> bool:
    """Whether a file is a scan that can be read here; never without the extra."""
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
    """Open a scan; raises InputError when it can not be read or the extra is missing."""
    openslide = _library()
    if openslide is None:
        raise InputError("scans can not be read here", printable(path), EXTRA)
    return Pyramid(path, openslide)


def _library() -> ModuleType | None:
    try:
        import openslide  # noqa: PLC0415 - an extra
    except (ImportError, OSError):  # the shared library may be missing
        return None
    return openslide  # type: ignore[no-any-return]


def _um_per_px(properties: Mapping[str, str]) -> float | None:
    """Give the mean of both directions where the scanner says it and a microscope can have it."""
    sizes = []
    for key in ("openslide.mpp-x", "openslide.mpp-y"):
        try:
            sizes.append(float(properties.get(key, "")))
        except ValueError:
            return None
    mean = sum(sizes) / 2
    low, high = PLAUSIBLE_UM_PER_PX
    # A size in one direction alone, or one that differs, says nothing of a round cell.
    sound = math.isfinite(mean) and low <= mean <= high
    return mean if sound and abs(sizes[0] - sizes[1]) <= 0.02 * mean else None
