"""Reads which pages of an OME-TIFF belong to which image, and the size of a pixel."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from xml.etree import ElementTree as ET

from edgeapl.errors import InputError
from edgeapl.sources.formats.header import PixelSize, pixel_size
from edgeapl.sources.formats.safe_xml import parsed

# Length units in µm, as spelled in the OME schema (UnitsLength), with both Greek letters mu.
_UNITS = {"ym": 1e-18, "zm": 1e-15, "am": 1e-12, "fm": 1e-9, "pm": 1e-6, "nm": 1e-3, "mm": 1e3}
_UNITS |= {"µm": 1.0, "\u03bcm": 1.0, "um": 1.0, "cm": 1e4, "dm": 1e5, "m": 1e6, "dam": 1e7}
_UNITS |= {"hm": 1e8, "km": 1e9, "Å": 1e-4, "\u212b": 1e-4, "thou": 25.4, "in": 25_400.0}
_UNITS |= {"li": 25_400.0 / 12, "ft": 304_800.0, "yd": 914_400.0, "pt": 25_400.0 / 72}
_NUMBER = re.compile(r"\s*\+?[0-9]{0,40}\.?[0-9]{0,60}(?:[eE][+-]?[0-9]{1,4})?\s*")


class OmeError(ValueError):
    """The description cannot be understood."""


@dataclass(frozen=True, slots=True)
class OmeImage:
    """One image, or one position of a stage.

    pages : of the file, in order. focus_planes, times : number of them.
    channels : planes in which one picture is stored; 1 if each page has all colours.
    size : of a pixel. significant_bits : per sample, None if not stated. name : of the image.
    """

    pages: tuple[int, ...]
    focus_planes: int
    times: int
    channels: int
    size: PixelSize
    significant_bits: int | None
    name: str = ""

    def check_one_picture(self, name: str) -> None:
        """Raise InputError when a picture is spread over planes of focus or over channels."""
        if self.focus_planes > 1:
            found = f"image has {self.focus_planes} planes of focus"
            raise InputError(found, name, "save one of them, or a projection")
        if self.channels > 1:
            found = f"image is stored as {self.channels} separate channels"
            raise InputError(found, name, "save it as RGB")


def read_ome(text: str, pages: int) -> tuple[OmeImage, ...]:
    """Parse the OME-XML description of a file with this many pages.

    Raises OmeError.
    """
    try:
        root = parsed(text)
    except ValueError as error:
        raise OmeError(str(error)) from error
    images: list[OmeImage] = []
    following = 0
    name = ""
    for pixels in root.iter():
        if _name(pixels) == "Image":
            name = pixels.get("Name", "")
        if _name(pixels) == "Pixels":
            image = replace(_image(root, pixels, following, pages), name=name)
            following = max((*image.pages, following - 1)) + 1
            images.append(image)
    return tuple(images)


def _image(root: ET.Element, pixels: ET.Element, following: int, pages: int) -> OmeImage:
    focus_planes, times = _count(pixels, "SizeZ"), _count(pixels, "SizeT")
    of_channels = [item for item in pixels if _name(item) == "Channel"]
    together = _count(of_channels[0], "SamplesPerPixel") if of_channels else 1
    channels = max(1, _count(pixels, "SizeC") // together)
    bits = pixels.get("SignificantBits")
    return OmeImage(
        pages=_pages(root, pixels, focus_planes * times * channels, following, pages),
        focus_planes=focus_planes,
        times=times,
        channels=channels,
        size=_size(pixels),
        significant_bits=int(bits) if bits and bits.isascii() and bits.isdigit() else None,
    )


def _pages(
    root: ET.Element, pixels: ET.Element, planes: int, following: int, pages: int
) -> tuple[int, ...]:
    """Return the pages of one image that are in this file."""
    own = root.get("UUID")
    found: list[int] = []
    blocks = [item for item in pixels if _name(item) == "TiffData"]
    for block in blocks:
        other = [item for item in block if _name(item) == "UUID"]
        if other and own is not None and (other[0].text or "").strip() != own:
            continue  # in another file
        first = _count(block, "IFD", following if block.get("IFD") is None else 0, least=0)
        alone = block.get("IFD") is not None or len(blocks) > 1
        count = _count(block, "PlaneCount", 1 if alone else planes)
        found.extend(range(first, min(first + count, pages)))
        if len(found) > pages:
            raise OmeError("it names more pages than there are")
    if not blocks:
        found.extend(range(following, min(following + planes, pages)))
    return tuple(found)


def _size(pixels: ET.Element) -> PixelSize:
    values = []
    for side in "XY":
        said = pixels.get(f"PhysicalSize{side}")
        unit = pixels.get(f"PhysicalSize{side}Unit", "µm").strip()
        if said is None:
            continue
        if unit not in _UNITS:
            return PixelSize(None, f"the pixel's size in the OME description is in {unit!r}")
        if not _NUMBER.fullmatch(said) or not any(char.isdigit() for char in said):
            return PixelSize(None, "the pixel's size in the OME description is no number")
        values.append(float(said) * _UNITS[unit])
    if not values:
        return PixelSize()
    if len(values) == 1:
        return PixelSize(None, "the OME description gives a pixel's size for one side alone")
    if values == [1.0, 1.0]:
        said = "1 µm per pixel in the OME description is what programs write that do not know it"
        return PixelSize(None, said)
    return pixel_size(values[0], values[1], "the OME description")


def _count(element: ET.Element, key: str, default: int = 1, least: int = 1) -> int:
    text = (element.get(key) or "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < least:
        raise OmeError(f"{key} is wrong")
    return int(text)


def _name(element: ET.Element) -> str:
    return str(element.tag).rpartition("}")[2]
