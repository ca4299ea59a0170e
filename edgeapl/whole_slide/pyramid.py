"""A scan as its readers show it: levels of one picture, each smaller than the one before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeapl.closable import ClosesItself
from edgeapl.sources.formats.colour import Conversion, conversion_of
from edgeapl.sources.formats.header import PixelSize
from edgeapl.types import Remark, UInt8
from edgeapl.wording.printable import printable


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the picture. width, height : px. shrink : px of level 0 per px of this level."""

    width: int
    height: int
    shrink: float


class Pyramid(ClosesItself, ABC):
    """An open scan, in sRGB.

    Parameters
    ----------
    path : the file. levels : of the picture, largest first.
    size : of a pixel of level 0. icc : colour profile; empty without one.
    """

    def __init__(self, path: Path, levels: Sequence[Level], size: PixelSize, icc: bytes) -> None:
        self.path = path
        self.name = printable(path)
        self.levels = tuple(levels)
        self.size = size
        self._colours = conversion_of(icc) if icc else Conversion()

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What is to be said of its colours."""
        return self._colours.remarks

    @property
    def um_per_px(self) -> float | None:
        """µm per px of level 0, if the file states it."""
        return self.size.um

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
        return self._colours.of(self._read(level, x, y, width, height))

    @abstractmethod
    def _read(self, level: int, x: int, y: int, width: int, height: int) -> UInt8:
        """Return a part of a level as stored."""
