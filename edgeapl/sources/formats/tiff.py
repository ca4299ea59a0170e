"""Reads a TIFF: which of its images show the slide, and what is known about them.

`tifffile` parses lists of tags and knows their meaning, `imagecodecs` decompresses. Before that,
`tiff_bounds` makes sure that the file cannot keep them busy for long.
"""

from __future__ import annotations

import io
import logging
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from edgeapl.errors import InputError
from edgeapl.sources.formats.depth import to_8_bits
from edgeapl.sources.formats.header import (
    ImageHeader,
    PixelSize,
    Still,
    cut_off,
    damaged,
    grey,
    pixel_size,
    print_colours,
    too_deep,
    unsupported,
)
from edgeapl.sources.formats.ome import OmeError, OmeImage, read_ome
from edgeapl.sources.formats.optional_formats import INCONSISTENT_FILE_ERRORS
from edgeapl.sources.formats.scanners import is_other_picture, scan_refused, scanner_of
from edgeapl.sources.formats.tiff_bounds import SIGNATURES, check_bounds
from edgeapl.sources.formats.tiff_pictures import (
    LABELS_LEFT_OUT,
    description_of,
    is_copy,
    is_small,
    pictures,
    without_labels,
)
from edgeapl.sources.formats.tiff_pixels import JPEG, check_shared, read_samples
from edgeapl.types import Remark, UInt8

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

__all__ = [
    "SIGNATURES",
    "check_kind",
    "keep_warnings_quiet",
    "page_profile",
    "page_size",
    "read_stills",
    "whole_page",
]

_GREY = (0, 1)
_RGB, _PALETTE, _CMYK, _YCBCR = 2, 3, 5, 6
_UNIT_UM = {2: 25_400.0, 3: 10_000.0}  # inch, centimetre
_IMAGEJ_UM = {"micron": 1.0, "microns": 1.0, "um": 1.0, "µm": 1.0, "\u03bcm": 1.0, "nm": 1e-3}
_IMAGEJ_UM |= {"mm": 1e3, "cm": 1e4, "inch": 25_400.0, "\\u00b5m": 1.0, "\\u03bcm": 1.0}
_SINGLE = (
    *("imagewidth", "imagelength", "imagedepth", "samplesperpixel", "photometric", "compression"),
    *("planarconfig", "subfiletype", "rowsperstrip", "tilewidth", "tilelength", "predictor"),
)
_STACK = Remark(
    "stack",
    "the file's images are a stack, and it does not say whether of fields or of one field at "
    "several depths or times, whose cells would be counted more than once",
    doubtful=True,
)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A page that shows the slide, and its OME description."""

    page: TiffPage
    ome: OmeImage | None
    remarks: tuple[Remark, ...] = ()


def read_stills(data: bytes, name: str) -> Iterator[Still]:
    """Yield every picture of a TIFF that shows the slide, in full resolution.

    Raises InputError for a file that is truncated, damaged, without colour, or would take more work
    than its size allows. Pixels are decoded on demand.
    """
    import tifffile  # noqa: PLC0415

    check_bounds(data, name)
    keep_warnings_quiet()
    try:
        # Not closed: pages read their longer values on demand.
        file = tifffile.TiffFile(io.BytesIO(data), name="image.tif")
        chosen = _choose(file, name)
        check_shared([each.page for each in chosen], data, name)
        stills = [_still(each, data, name) for each in chosen]
    except INCONSISTENT_FILE_ERRORS as error:
        raise damaged(name, "TIFF contradicts itself") from error
    yield from stills


def keep_warnings_quiet() -> None:
    """Keep tifffile's warnings off the terminal: what is wrong is found and said here."""
    log = logging.getLogger("tifffile")
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def _choose(file: TiffFile, name: str) -> list[_Chosen]:
    pages = [whole_page(file, number) for number in range(len(file.pages))]
    first = pages[0]
    text = description_of(first)
    if scanner := scanner_of(pages, text):
        raise scan_refused(scanner, name)
    if "<OME" in text[:4096] or "OME-XML" in text[:4096]:
        try:
            images = read_ome(text, len(pages))
        except OmeError as error:
            said = f"the file's OME description was not used ({error})"
            remark = Remark("description", said, doubtful=len(pages) > 1)
            whole, left_out = without_labels(pictures(pages, text), pages)
            return [_Chosen(page, None, (remark, *left_out)) for page in whole]
        return _of_ome(pages, images, name)
    _check_count(text, len(pages), name)
    whole, left_out = without_labels(pictures(pages, text), pages)
    stack = (_STACK,) if len(whole) > 1 and text.startswith("ImageJ=") else ()
    return [_Chosen(page, None, (*stack, *left_out)) for page in whole]


def whole_page(file: TiffFile, number: int) -> TiffPage:
    """Return a page with all its tags. Raises TypeError if a list takes the place of a number."""
    page = file.pages[number].aspage()
    for name in _SINGLE:
        if not isinstance(getattr(page, name), int):
            raise TypeError(name)
    return page


def _of_ome(pages: list[TiffPage], images: tuple[OmeImage, ...], name: str) -> list[_Chosen]:
    chosen = []
    shown = [image for image in images if not is_other_picture(image.name)] or list(images)
    for image in shown:
        image.check_one_picture(name)
        whole = [page for number in image.pages if not is_small(page := pages[number])]
        chosen += [_Chosen(page, image) for page in whole]
    kept, left_out = without_labels([each.page for each in chosen], pages)
    chosen = [each for each in chosen if each.page in kept]
    if not chosen:
        raise damaged(name, "its OME description names no image of this file")
    named = {number for image in images for number in image.pages}
    first = chosen[0].page
    others = [page for number, page in enumerate(pages) if number not in named]
    passed_over = [page for page in others if not is_small(page) and not is_copy(page, first)]
    remarks = list(left_out)
    if len(shown) < len(images) and not left_out:
        remarks.append(LABELS_LEFT_OUT)
    if passed_over:
        text = f"{len(passed_over)} images of the file are not examined: its OME description"
        remarks.append(Remark("pages", f"{text} does not name them", doubtful=True))
    if any(image.times > 1 for image in images):
        remarks.append(_STACK)
    return [replace(each, remarks=tuple(remarks)) for each in chosen]


def _check_count(text: str, pages: int, name: str) -> None:
    """Refuse an ImageJ stack of which a part is missing or stored without lists of tags."""
    said = re.search(r"^images=([0-9]{1,9})\s*$", text[:4096], re.MULTILINE)
    if text.startswith("ImageJ=") and said is not None and int(said[1]) > pages:
        found = f"file says it holds {int(said[1])} images, {pages} can be found"
        raise InputError(found, name, "save each as a file of its own")
    shape = re.match(r'\{"shape": \[([0-9, ]{1,80})\]', text)
    if shape is not None and len(sides := shape[1].split(",")) > 3 and pages == 1:
        count = math.prod(int(side) for side in sides[:-3])
        if count > 1:
            found = f"file says it holds {count} images, {pages} can be found"
            raise InputError(found, name, "save each as a file of its own")
    depth = re.search(r"^slices=([0-9]{1,9})\s*$", text[:4096], re.MULTILINE)
    if text.startswith("ImageJ=") and depth and int(depth[1]) > 1 and "\nspacing=" in text[:4096]:
        found = f"image has {int(depth[1])} planes of focus"
        raise InputError(found, name, "save one of them, or a projection")


def _still(chosen: _Chosen, data: bytes, name: str) -> Still:
    page = chosen.page
    check_kind(page, name)
    size = chosen.ome.size if chosen.ome is not None else PixelSize()
    if size == PixelSize():
        size = page_size(page)
    header = ImageHeader(
        "TIFF",
        page.imagewidth,
        page.imagelength,
        alpha=page.samplesperpixel == 4,
        orientation=turned if (turned := _tag(page, 274, 1)) in range(1, 9) else 1,
        size=size,
        remarks=chosen.remarks,
        icc=page_profile(page),
    )
    return Still(header, partial(_pixels, chosen, data))


def check_kind(page: TiffPage, name: str) -> None:
    """Refuse all but images with colours of 8 to 16 bits."""
    for tag in (256, 257, 262):
        if tag not in page.tags:
            raise cut_off(name, f"TIFF: tag {tag} is missing")
    bits, channels, colours = page.bitspersample, page.samplesperpixel, int(page.photometric)
    if page.sampleformat != 1:
        kind = {2: "signed numbers", 3: "floating-point numbers"}
        found = page.sampleformat if isinstance(page.sampleformat, int) else 0
        raise unsupported(name, f"as {kind.get(int(found), 'unusual numbers')}")
    if not isinstance(bits, int):
        raise unsupported(name, "as TIFF with channels of different depth")
    if bits > 16:
        raise too_deep(name, bits)
    if colours in _GREY:
        raise grey(name)
    if colours == _CMYK:
        raise print_colours(name)
    if colours not in (_RGB, _PALETTE, _YCBCR):
        raise unsupported(name, f"as TIFF with colour kind {colours}")
    if colours == _YCBCR and int(page.compression) != JPEG:
        raise unsupported(name, "as TIFF with colour kind 6 outside of JPEG")
    wanted = (1,) if colours == _PALETTE else (3, 4)
    deep = bits in (10, 12, 14, 16) and colours == _RGB
    if channels not in wanted or not (bits == 8 or deep) or page.imagedepth != 1:
        raise unsupported(name, f"as TIFF with {channels} channels of {bits} bits")
    _check_storing(page, name)


def _check_storing(page: TiffPage, name: str) -> None:
    """Refuse unsupported ways to store pixels."""
    channels, bits = page.samplesperpixel, page.bitspersample
    planar = int(page.planarconfig) == 2
    if int(page.compression) == JPEG and (channels != 3 or bits != 8 or planar):
        raise unsupported(name, "as TIFF with an unusual kind of JPEG")
    if _tag(page, 266, 1) != 1:
        raise unsupported(name, "as TIFF with reversed bits")
    if _tag(page, 317, 1) not in (1, 2):
        raise unsupported(name, "as TIFF with an unusual predictor")


def _pixels(chosen: _Chosen, data: bytes, name: str) -> tuple[UInt8, tuple[Remark, ...]]:
    """Decode to RGB or RGBA with 8 bits, and remark on how more bits became 8."""
    page = chosen.page
    try:
        samples = read_samples(page, data, name)
        if int(page.photometric) == _PALETTE:
            return _looked_up(page, samples[..., 0].astype(np.uint8), name), ()
    except INCONSISTENT_FILE_ERRORS as error:
        raise damaged(name, "TIFF contradicts itself") from error
    if samples.dtype == np.uint8:
        return samples, ()
    stated = chosen.ome.significant_bits if chosen.ome is not None else None
    largest = _tag(page, 281, 0)  # MaxSampleValue
    if stated is None and page.bitspersample == 16 and 0 < largest < 0xFFFF:
        stated = largest.bit_length()
    if stated is None and page.bitspersample < 16:
        stated = page.bitspersample
    return to_8_bits(samples, stated, name)


def _looked_up(page: TiffPage, numbers: UInt8, name: str) -> UInt8:
    table = np.asarray(page.tags.valueof(320)).reshape(3, 256).T
    # The standard asks for 16 bits; some programs write 8.
    colours = (table >> 8 if table.max() > 0xFF else table).astype(np.uint8)
    if bool(np.all(colours == colours[:, :1])):
        raise grey(name)
    return np.asarray(colours[numbers], dtype=np.uint8)


def page_size(page: TiffPage) -> PixelSize:
    """Return the pixel size from ImageJ's or Aperio's description, else the resolution tags."""
    x, y = _resolution(page, 282), _resolution(page, 283)
    text = description_of(page)
    aperio = re.search(r"\| ?MPP ?= ?([0-9]{0,9}\.?[0-9]{1,20})(?![0-9.])", text[:4096])
    if text.startswith("Aperio") and aperio is not None:
        return pixel_size(float(aperio[1]), float(aperio[1]), "Aperio's description")
    if text.startswith("ImageJ="):
        said = re.search(r"^unit=[ \t]*(\S{1,20})\s*$", text[:4096], re.MULTILINE)
        if said is None or said[1] in ("pixel", "pixels"):
            return PixelSize()
        down = re.search(r"^yunit=[ \t]*(\S{1,20})\s*$", text[:4096], re.MULTILINE)
        if down is not None and down[1] != said[1]:
            return PixelSize(None, f"ImageJ's units differ: {said[1]!r} and {down[1]!r}")
        unit = _IMAGEJ_UM.get(said[1].casefold())
        if unit is None:
            return PixelSize(None, f"ImageJ's unit {said[1]!r} is no length that is known")
        origin = "ImageJ's description"
    else:
        unit, origin = _UNIT_UM.get(_tag(page, 296, 2)), "the resolution in the file"
    if unit is None or min(x, y) <= 0 or max(x, y) == float("inf"):
        return PixelSize()
    return pixel_size(unit / x, unit / y, origin)


def _resolution(page: TiffPage, tag: int) -> float:
    value = page.tags.valueof(tag)
    if not isinstance(value, tuple) or len(value) != 2:
        return 0.0
    return float(value[0]) / float(value[1]) if value[1] else float("inf")


def page_profile(page: TiffPage) -> bytes:
    """Return the ICC profile of a page; empty without one."""
    value = page.tags.valueof(34675)
    return bytes(value) if isinstance(value, bytes) else b""


def _tag(page: TiffPage, tag: int, default: int) -> int:
    value = page.tags.valueof(tag, default)
    if isinstance(value, tuple) and value:
        value = value[0]
    return int(value) if isinstance(value, int) else default
