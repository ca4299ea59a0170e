"""A pyramid in a TIFF: its levels, read in parts, so that a scan of any size takes little memory.

Thumbnails of another shape, labels and pictures of the whole glass are no levels: they are never
decoded.
"""

from __future__ import annotations

import mmap
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from edgeapl.closable import ClosesItself
from edgeapl.errors import InputError
from edgeapl.sources.formats.header import PixelSize, too_deep
from edgeapl.sources.formats.ome import OmeError, read_ome
from edgeapl.sources.formats.optional_formats import INCONSISTENT_FILE_ERRORS
from edgeapl.sources.formats.scanners import is_other_picture
from edgeapl.sources.formats.tiff import (
    check_kind,
    keep_warnings_quiet,
    page_profile,
    page_size,
    whole_page,
)
from edgeapl.sources.formats.tiff_bounds import SIGNATURES, check_bounds
from edgeapl.sources.formats.tiff_pictures import description_of, is_small
from edgeapl.sources.formats.tiff_pixels import Samples, TiffParts
from edgeapl.types import UInt8

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

MOST_LEVELS = 32
"""A level is at least 1.5 times smaller than the one before."""

MOST_PART_PX = 1 << 25
"""Pixels of a strip or tile: it is decoded as a whole."""

KEPT_BYTES = 64 << 20
"""Decoded parts that are kept, as the next region may need them again."""

_PALETTE = 3


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """A level. number : from 0. channels : 3 or 4. shape : height and width, px."""

    number: int
    shape: tuple[int, int]
    channels: int
    parts: TiffParts


class TiffLevels(ClosesItself):
    """The levels of a TIFF, largest first.

    Parameters
    ----------
    path : the file. name : used in errors.

    shapes : height and width of each level, px. size : of a pixel of the first. icc : its colour
    profile, empty without one.

    Raises InputError when the file is damaged or cannot be read in parts.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        self._kept: OrderedDict[tuple[int, int], Samples] = OrderedDict()
        self._kept_bytes = 0
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self._open(path)
        except INCONSISTENT_FILE_ERRORS as error:
            self.close()
            raise InputError("scan contradicts itself", name, str(error)) from error
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path) -> None:
        import tifffile  # noqa: PLC0415

        data = cast("bytes", self._data)  # slices of both are bytes
        check_bounds(data, self._name)
        keep_warnings_quiet()
        with tifffile.TiffFile(path) as file:
            pages, size = _levels_of(file, self._name)
            self._stored = [_stored(number, page, data, self._name) for number, page in pages]
            self.icc = page_profile(pages[0][1])
            self.size = size if size != PixelSize() else page_size(pages[0][1])
        self.shapes = tuple(level.shape for level in self._stored)

    def read(self, level: int, top: int, left: int, height: int, width: int) -> UInt8:
        """Return a part of a level, uint8 (height, width, 3); white beyond it and where it is bare.

        Raises InputError when one of the strips or tiles is damaged.
        """
        stored = self._stored[level]
        region = np.full((height, width, 3), 255, np.uint8)
        high, wide = stored.parts.stored
        bottom, right = min(stored.shape[0], top + height), min(stored.shape[1], left + width)
        for row in range(max(0, top) // high, -(-max(0, bottom) // high)):
            for column in range(max(0, left) // wide, -(-max(0, right) // wide)):
                number = row * stored.parts.across + column
                if not stored.parts.is_left_out(number):
                    _lay(
                        region,
                        self._decoded(stored, number),
                        row * high - top,
                        column * wide - left,
                    )
        return region

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._kept.clear()
        self._data.close()

    def _decoded(self, stored: _Stored, number: int) -> Samples:
        """Return one strip or tile as RGB, uint8 (H, W, 3), as far as it lies in the picture."""
        key = stored.number, number
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        try:
            part = stored.parts.part(number)
            samples = stored.parts.decode(part)[: part.height, : part.width]
        except INCONSISTENT_FILE_ERRORS as error:
            raise InputError("part of the scan is damaged", self._name, str(error)) from error
        made = _on_white(samples)
        self._kept[key] = made
        self._kept_bytes += made.nbytes
        while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
        return made


def pyramid_shapes(path: Path, name: str) -> tuple[tuple[int, int], ...]:
    """Return height and width of each level; empty where a file is no TIFF with levels."""
    try:
        with path.open("rb") as file:
            if not file.read(4).startswith(SIGNATURES):
                return ()
        with TiffLevels(path, name) as levels:
            return levels.shapes
    except (InputError, OSError):
        return ()


def _levels_of(file: TiffFile, name: str) -> tuple[list[tuple[int, TiffPage]], PixelSize]:
    """Return the pages of the scan, largest first, and the size of a pixel if OME states it."""
    pages = [whole_page(file, number) for number in range(len(file.pages))]
    size, own = PixelSize(), pages
    text = description_of(pages[0])
    if "<OME" in text[:4096]:
        size, own = _of_ome(text, pages, name)
    largest = max(own, key=lambda page: (_is_picture(page), page.imagewidth * page.imagelength))
    offsets = largest.subifds or ()
    if len(offsets) > MOST_LEVELS:
        raise InputError(f"scan has {len(offsets)} levels", name, "copy the file again")
    others: Sequence[TiffPage] = [page.aspage() for page in largest.pages] if offsets else own
    levels = [largest]
    for page in sorted(others, key=lambda one: one.imagewidth, reverse=True):
        if page is not largest and _is_level(page, levels[-1], largest):
            levels.append(page)
    return list(enumerate(levels)), size


def _of_ome(text: str, pages: list[TiffPage], name: str) -> tuple[PixelSize, list[TiffPage]]:
    """Return what the OME description says of the first image, which is the scan."""
    try:
        image = read_ome(text, len(pages))[0]
    except (OmeError, IndexError) as error:
        raise InputError("its OME description cannot be read", name, str(error)) from error
    image.check_one_picture(name)
    return image.size, [pages[number] for number in image.pages] or pages[:1]


def _is_picture(page: TiffPage) -> bool:
    """Whether a page may be the scan itself: not a label, nor the whole glass."""
    return not is_small(page) and not is_other_picture(description_of(page))


def _is_level(page: TiffPage, before: TiffPage, first: TiffPage) -> bool:
    """Whether a page shows the same in lower resolution, and is stored in the same way."""
    if page.is_tiled != first.is_tiled or page.samplesperpixel != first.samplesperpixel:
        return False
    if not page.imagewidth or not page.imagelength or page.imagewidth * 1.5 > before.imagewidth:
        return False
    if is_other_picture(description_of(page)):
        return False
    shrink = first.imagewidth / page.imagewidth
    # Sizes are rounded up or down to whole pixels, in each step from level to level.
    expected = float(first.imagelength) / shrink
    return bool(abs(expected - page.imagelength) <= 2)


def _stored(number: int, page: TiffPage, data: bytes, name: str) -> _Stored:
    check_kind(page, name)
    if page.bitspersample != 8:
        raise too_deep(name, page.bitspersample)
    if int(page.photometric) == _PALETTE:
        raise InputError("scan has a palette", name, "save it as RGB")
    parts = TiffParts(page, data, name)
    if parts.planar:
        raise InputError("scan stores each colour apart", name, "save it with interleaved colours")
    if parts.stored[0] * parts.stored[1] > MOST_PART_PX:
        found = f"scan is stored in parts of {parts.stored[1]} x {parts.stored[0]} px"
        raise InputError(found, name, "save it in tiles")
    return _Stored(number, (page.imagelength, page.imagewidth), page.samplesperpixel, parts)


def _on_white(samples: Samples) -> UInt8:
    """Lay RGB or RGBA, uint8, on white."""
    if samples.shape[2] == 3:
        return np.ascontiguousarray(samples, dtype=np.uint8)
    share = samples[..., 3:].astype(np.float32) / 255
    return np.asarray(samples[..., :3] * share + 255 * (1 - share), dtype=np.uint8)


def _lay(region: UInt8, part: Samples, top: int, left: int) -> None:
    """Copy the part of a picture that lies in a region; top, left : of the part in the region."""
    y, x = max(0, top), max(0, left)
    inside = part[y - top : region.shape[0] - top, x - left : region.shape[1] - left]
    region[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
