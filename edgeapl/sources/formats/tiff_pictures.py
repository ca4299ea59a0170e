"""Which pages of a TIFF show the slide: no masks, smaller levels, thumbnails or labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeapl.sources.formats.scanners import is_other_picture
from edgeapl.types import Remark

if TYPE_CHECKING:
    from tifffile import TiffPage

LABELS_LEFT_OUT = Remark(
    "pages", "not examined: what the file says shows the label or the whole glass", doubtful=True
)

_REDUCED, _MASK = 1, 4  # bits of NewSubfileType


def pictures(pages: list[TiffPage], text: str) -> list[TiffPage]:
    """Return the pictures without thumbnails, masks, and the smaller levels of pyramids.

    text : the description of the first page.
    """
    whole = [page for page in pages if not is_small(page)]
    first = whole[0] if whole else pages[0]
    if text.startswith("Aperio"):
        return [first]
    return [first, *(page for page in whole[1:] if not is_copy(page, first))]


def without_labels(
    found: list[TiffPage], pages: list[TiffPage]
) -> tuple[list[TiffPage], tuple[Remark, ...]]:
    """Leave out what shows the label or the whole glass, and say so.

    Their description tells them, or that a file which holds a pyramid in tiles has them in one
    piece. The only picture of a file is kept.

    found : the pictures among all `pages` of the file.
    """
    scan = any(page.is_tiled for page in found) and _holds_pyramid(pages)
    kept = [
        page
        for page in found
        if not is_other_picture(description_of(page)) and (page.is_tiled or not scan)
    ]
    if not kept or len(kept) == len(found):
        return found, ()
    return kept, (LABELS_LEFT_OUT,)


def is_small(page: TiffPage) -> bool:
    """Whether a page says that it is a thumbnail, a smaller level or a mask."""
    return bool(int(page.subfiletype) & (_REDUCED | _MASK))


def is_copy(page: TiffPage, first: TiffPage) -> bool:
    """Return whether one tiled image is another in lower resolution; not all programs flag that."""
    if not (first.is_tiled and page.is_tiled and page.imagewidth and page.imagelength):
        return False
    across = first.imagewidth / page.imagewidth
    down = first.imagelength / page.imagelength
    return bool(across > 1.5 and abs(across - down) < 0.05 * across)


def description_of(page: TiffPage) -> str:
    """Return the description of a page; empty without one."""
    value = page.tags.valueof(270)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def _holds_pyramid(pages: list[TiffPage]) -> bool:
    tiled = [page for page in pages if page.is_tiled]
    largest = max(tiled, key=lambda page: page.imagewidth * page.imagelength)
    return bool(largest.subifds) or any(is_copy(page, largest) for page in tiled)
