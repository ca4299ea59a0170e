"""A scan as OpenSlide reads it.

Label and macro images are never opened: they may show names of patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edgeapl.errors import InputError
from edgeapl.sources.formats.header import PixelSize, pixel_size
from edgeapl.types import UInt8
from edgeapl.whole_slide.pyramid import Level, Pyramid
from edgeapl.wording.printable import printable

GENERIC = "generic-tiff"


def openslide_library() -> ModuleType | None:
    """Return OpenSlide; None where it is not installed."""
    try:
        import openslide  # noqa: PLC0415 - an extra
    except (ImportError, OSError):  # the shared library may be missing
        return None
    return openslide  # type: ignore[no-any-return]


class OpenSlidePyramid(Pyramid):
    """An open scan.

    Parameters
    ----------
    path : the file. library : OpenSlide.

    Raises InputError when it cannot be opened.
    """

    def __init__(self, path: Path, library: ModuleType) -> None:
        self._library = library
        self._slide = _opened(path, library)
        properties: Mapping[str, str] = self._slide.properties
        levels = [
            Level(width, height, shrink)
            for (width, height), shrink in zip(
                self._slide.level_dimensions, self._slide.level_downsamples, strict=True
            )
        ]
        super().__init__(path, levels, _size_of(properties), self._profile())

    def can_be_read(self) -> bool:
        """Whether one pixel of each level can be decoded: not every packing is known."""
        try:
            for number, level in enumerate(self.levels):
                middle = int(level.width * level.shrink / 2), int(level.height * level.shrink / 2)
                self._slide.read_region(middle, number, (1, 1))
        except self._library.OpenSlideError:
            self._reopen()
            return False
        return True

    def _read(self, level: int, x: int, y: int, width: int, height: int) -> UInt8:
        try:
            image = self._slide.read_region((x, y), level, (width, height))
        except self._library.OpenSlideError as error:
            self._reopen()
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

    def _profile(self) -> bytes:
        if "openslide.icc-size" not in self._slide.properties:
            return b""
        try:
            profile = self._slide.color_profile
        except (self._library.OpenSlideError, OSError, ValueError):
            return b"\0"  # there is one, but it cannot be read
        return b"" if profile is None else bytes(profile.tobytes())

    def _reopen(self) -> None:
        """Open the file again: after one error OpenSlide repeats it for every call."""
        self._slide.close()
        self._slide = _opened(self.path, self._library)


def _opened(path: Path, library: ModuleType) -> Any:
    try:
        return library.OpenSlide(str(path))
    except (library.OpenSlideError, OSError) as error:
        raise InputError("scan cannot be opened", printable(path), str(error)) from error


def _size_of(properties: Mapping[str, str]) -> PixelSize:
    """Return the size of a pixel as the scanner states it."""
    stated = [properties.get(f"openslide.mpp-{side}") for side in "xy"]
    if stated == [None, None]:
        return PixelSize()
    try:
        x, y = (float(value) for value in stated if value is not None)
    except ValueError:
        return PixelSize(None, "the scan gives no number for each side of a pixel")
    return pixel_size(x, y, "the scan")
