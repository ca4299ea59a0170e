"""A pyramid in a TIFF that OpenSlide cannot read: other packings, SubIFDs, strips."""

from __future__ import annotations

from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.sources.formats.tiff_levels import TiffLevels
from edgeapl.types import UInt8
from edgeapl.whole_slide.pyramid import Level, Pyramid
from edgeapl.wording.printable import printable


class TiffPyramid(Pyramid):
    """An open scan. Raises InputError when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        try:
            self._stored = TiffLevels(path, printable(path))
        except (InputError, OSError) as error:
            raise InputError("scan cannot be opened", printable(path), str(error)) from error
        width = self._stored.shapes[0][1]
        levels = [Level(wide, high, width / wide) for high, wide in self._stored.shapes]
        super().__init__(path, levels, self._stored.size, self._stored.icc)

    def _read(self, level: int, x: int, y: int, width: int, height: int) -> UInt8:
        shrink = self.levels[level].shrink
        try:
            return self._stored.read(level, round(y / shrink), round(x / shrink), height, width)
        except InputError as error:
            where = f"{self.name} at {x}, {y}"
            raise InputError("part of the scan is damaged", where, error.mend) from error

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._stored.close()
