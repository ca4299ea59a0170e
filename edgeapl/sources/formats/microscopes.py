"""Reads ND2 (Nikon), CZI (Zeiss) and LIF (Leica), each with its own library.

Every position, scene or image is a frame. Focal planes, mosaics and separate channels are refused:
cells would be counted more than once, or have no colours.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from edgeapl.errors import InputError
from edgeapl.sources.formats.depth import to_8_bits
from edgeapl.sources.formats.header import (
    ImageHeader,
    PixelSize,
    Still,
    damaged,
    grey,
    pixel_size,
    unsupported,
)
from edgeapl.sources.formats.optional_formats import INCONSISTENT_FILE_ERRORS, library
from edgeapl.sources.formats.safe_xml import parsed
from edgeapl.types import Remark, UInt8

CZI = b"ZISRAWFILE"
LIF = b"\x70\0\0\0"
ND2 = b"\xda\xce\xbe\x0a"

MOST_FRAMES = 4096
_UNTRIED = "read by the structure of the format, which was not tried on a microscope's own file"
_UNCOMPRESSED, _JPEG_XR = 0, 4


def is_czi(data: bytes) -> bool:
    """Return whether a file begins like CZI."""
    return data.startswith(CZI)


def is_lif(data: bytes) -> bool:
    """Return whether a file begins like LIF."""
    return data[:4] == LIF and data[8:9] == b"\x2a"


def is_nd2(data: bytes) -> bool:
    """Return whether a file begins like ND2 as written since 2010."""
    return data.startswith(ND2)


def read_nd2(data: bytes, name: str) -> Iterator[Still]:
    """Yield every position of an ND2. Raises InputError."""
    nd2 = library("nd2", name)
    with _contradicting("ND2", name):
        file = nd2.ND2File(io.BytesIO(data))
        sizes = dict(file.sizes)
        _check_axes(sizes, name)
        said = file.voxel_size()
        size = pixel_size(float(said.x), float(said.y), "the ND2's metadata")
        bits = file.attributes.bitsPerComponentSignificant
        count = math.prod(sizes.get(axis, 1) for axis in "PT")
    for number in range(min(count, MOST_FRAMES)):
        read = partial(file.read_frame, number)
        yield _still("ND2", sizes["X"], sizes["Y"], size, read, bits)


def read_lif(data: bytes, name: str) -> Iterator[Still]:
    """Yield every image of a LIF. Raises InputError."""
    liffile = library("liffile", name)
    with _contradicting("LIF", name):
        length = int.from_bytes(data[9:13], "little")
        parsed(data[13 : 13 + 2 * length].decode("utf-16-le"))
        images = list(liffile.LifFile(io.BytesIO(data)).images)
        if not images:
            raise ValueError("no image")
        if len(images) > MOST_FRAMES:
            raise ValueError("too many images")
    for image in images:
        with _contradicting("LIF", name):
            sizes = dict(image.sizes)
            _check_axes(sizes, name)
            if not sizes.keys() <= {"X", "Y", "S"}:
                raise unsupported(name, "as LIF with the axes " + " ".join(sizes))
            # Coordinates are in metres.
            x, y = (1e6 * float(np.diff(image.coords[axis][:2])[0]) for axis in "XY")
            size = pixel_size(abs(x), abs(y), "the LIF's metadata")
        yield _still("LIF", sizes["X"], sizes["Y"], size, image.asarray, None)


def read_czi(data: bytes, name: str) -> Iterator[Still]:
    """Yield every scene of a CZI. Raises InputError."""
    czifile = library("czifile", name)
    with _contradicting("CZI", name, czifile.SegmentNotFoundError):
        file = czifile.CziFile(io.BytesIO(data))
        entries = [entry for entry in file.subblock_directory if entry.shape == entry.stored_shape]
        if not entries:
            raise ValueError("no image")
        if len(entries) > MOST_FRAMES:
            raise ValueError("too many images")
        size = _size_of_czi(file.metadata(raw=True))
        stills = [_of_czi(entry, size, name) for entry in entries]
        tiles = {entry.mosaic_index for entry in entries}
        planes = {entry.start[entry.axes.index("Z")] for entry in entries if "Z" in entry.axes}
        _check_axes({"M": len(tiles), "Z": len(planes)}, name)
    yield from stills


def _of_czi(entry: Any, size: PixelSize, name: str) -> Still:
    sizes = dict(zip(entry.axes, entry.shape, strict=True))
    sizes["S"] = sizes.pop("0")
    beside = {axis: sizes[axis] for axis in sizes if axis in "CZTHRI"}
    _check_axes({**beside, "S": sizes["S"], "X": sizes["X"], "Y": sizes["Y"]}, name)
    if entry.compression not in (_UNCOMPRESSED, _JPEG_XR):
        raise unsupported(name, "as CZI with another compression than JPEG XR")
    return _still("CZI", sizes["X"], sizes["Y"], size, partial(_czi_pixels, entry), None)


def _czi_pixels(entry: Any) -> np.ndarray[Any, Any]:
    import imagecodecs  # noqa: PLC0415

    raw = entry.data_segment().data(raw=True)
    height, width, channels = entry.shape[-3:]
    if entry.compression == _JPEG_XR:
        return np.asarray(imagecodecs.jpegxr_decode(raw))
    dtype = np.dtype(entry.dtype).base
    stored = np.frombuffer(raw, dtype, count=height * width * channels)
    return stored.reshape(height, width, channels)[..., ::-1]  # stored as BGR


def _size_of_czi(xml: str) -> PixelSize:
    sides = {}
    for distance in parsed(xml).iter("Distance"):
        value = distance.findtext("Value")
        if value and distance.get("Id") in ("X", "Y"):
            sides[distance.get("Id")] = 1e6 * float(value)  # metres
    if len(sides) < 2:
        return PixelSize()
    return pixel_size(sides["X"], sides["Y"], "the CZI's metadata")


@contextmanager
def _contradicting(called: str, name: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn a library's errors about an inconsistent file into an InputError.

    errors : of the library's own.
    """
    caught: tuple[type[Exception], ...] = (*INCONSISTENT_FILE_ERRORS, *errors)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # meant for a terminal; missing data is noticed here
            yield
    except InputError:
        raise
    except caught as error:
        raise damaged(name, f"{called} contradicts itself") from error


def _check_axes(sizes: Mapping[str, int], name: str) -> None:
    """Refuse anything but pictures of single fields with colours."""
    if sizes.get("Z", 1) > 1:
        found = f"image has {sizes['Z']} planes of focus"
        raise InputError(found, name, "save one of them, or a projection")
    if sizes.get("M", 1) > 1:
        found = f"image is a mosaic of {sizes['M']} fields that overlap"
        raise InputError(found, name, "save its fields, or the stitched image, as TIFF")
    if sizes.get("C", 1) > 1:
        found = f"image is stored as {sizes['C']} separate channels"
        raise InputError(found, name, "save it as RGB")
    if "X" in sizes and sizes.get("S", 1) != 3:
        raise grey(name)


def _still(
    called: str,
    width: int,
    height: int,
    size: PixelSize,
    read: Callable[[], Any],
    bits: int | None,
) -> Still:
    # The order in which an ND2 stores its colours is not documented.
    remarks = (Remark("untried", f"{called} was {_UNTRIED}", doubtful=called == "ND2"),)
    header = ImageHeader(called, width, height, size=size, remarks=remarks)
    return Still(header, partial(_pixels, called, read, bits, (height, width, 3)))


def _pixels(
    called: str,
    read: Callable[[], Any],
    bits: int | None,
    shape: tuple[int, int, int],
    name: str,
) -> tuple[UInt8, tuple[Remark, ...]]:
    with _contradicting(called, name):
        samples = np.asarray(read())
        samples = samples.reshape(shape)
        if samples.dtype == np.uint8:
            return np.ascontiguousarray(samples), ()
        if samples.dtype != np.uint16:
            raise unsupported(name, f"as {called} with samples of {samples.dtype}")
    return to_8_bits(samples.astype(np.uint16), bits, name)
