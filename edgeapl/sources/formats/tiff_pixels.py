"""Decodes the strips or tiles of a TIFF image, and refuses a missing, short or corrupt one.

Decoders silently fill in what is missing, so the length of every part is checked. Parts that are
complete JPEG, JPEG 2000 or WebP images must also have exactly the size they are stored for.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import InputError
from edgeapl.sources.formats import jpeg
from edgeapl.sources.formats.header import cut_off, damaged, decoded_jpeg, unsupported

if TYPE_CHECKING:
    from tifffile import TiffPage

JPEG, WEBP = 7, 50001
JPEG_2000 = (33004, 33005, 34712)
_NONE = 1
_BYTE_CODECS = {
    5: "lzw_decode",
    8: "zlib_decode",
    32946: "zlib_decode",
    32773: "packbits_decode",
    34925: "lzma_decode",
    50000: "zstd_decode",
}
READ = {_NONE, JPEG, WEBP, *JPEG_2000, *_BYTE_CODECS}
"""Supported compressions (tag 259)."""

MOST_TILE = 1 << 24
"""Most pixels of a tile, unless the image is larger: tiles may extend beyond its edge."""

_YCBCR = 6
Samples = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A strip or tile: its place in the image, and its bytes.

    plane : 0, or the only channel that it holds.
    top, left : px. height, width : of the visible part, px. whole : height it may be stored with.
    number : from 1, for errors.
    """

    plane: int
    top: int
    left: int
    height: int
    width: int
    stored: tuple[int, int]
    data: bytes
    number: int


def read_samples(page: TiffPage, data: bytes, name: str) -> Samples:
    """Return an image's samples as stored, (H, W, channels), of dtype uint8 or uint16.

    Parameters
    ----------
    page : checked to hold unsigned integers of 8 to 16 bits.
    data : all bytes of the file.

    Raises InputError for a part that is missing, short or corrupt, and for parts that together
    cause more work than a sound file of this size can.
    """
    parts = TiffParts(page, data, name)
    dtype = np.uint8 if page.bitspersample == 8 else np.uint16
    image = np.empty((page.imagelength, page.imagewidth, page.samplesperpixel), dtype)
    for number in range(parts.count):
        part = parts.part(number)
        samples = parts.decode(part)
        rows, columns = part.height, part.width
        place = np.s_[part.top : part.top + rows, part.left : part.left + columns]
        if parts.planar:
            image[(*place, part.plane)] = samples[:rows, :columns, 0]
        else:
            image[place] = samples[:rows, :columns]
    return image


def check_shared(pages: Sequence[TiffPage], data: bytes, name: str) -> None:
    """Refuse images that share their bytes: each would be decompressed again, hours for 1 MB.

    Twice the file size is allowed, for tiles that stand for several empty ones.
    """
    stored = [_numbers(page.tags.valueof(325 if page.is_tiled else 279)) for page in pages]
    if len(pages) > 1 and sum(map(sum, stored)) > 2 * len(data):
        raise damaged(name, "TIFF images lie over each other")


class TiffParts:
    """The strips or tiles of an image, each decoded when it is asked for.

    Parameters
    ----------
    page, data, name : of `read_samples`; `data` may be a file mapped into memory.

    stored : height and width of a part as stored. down, across : parts along each side.
    planar : whether each part holds one channel. decode : returns the samples of a part, (rows,
    columns, channels).

    Raises InputError when the parts cannot all be there, or cause more work than a sound file of
    this size can.
    """

    def __init__(self, page: TiffPage, data: bytes, name: str) -> None:
        self._page, self._data, self._name = page, data, name
        self.planar = int(page.planarconfig) == 2 and page.samplesperpixel > 1
        self.decode = _decoder(page, 1 if self.planar else page.samplesperpixel, name)
        height, width = page.imagelength, page.imagewidth
        tiled = page.is_tiled
        if tiled:
            stored = (int(page.tilelength), int(page.tilewidth))
        else:
            stored = (int(page.rowsperstrip), width)
        if 0 in stored:
            raise damaged(name, "TIFF strips without size")
        if tiled and stored[0] * stored[1] > max(MOST_TILE, 4 * height * width):
            raise damaged(name, f"TIFF with tiles of {stored[1]} x {stored[0]} px")
        self.stored = stored if tiled else (min(stored[0], height), width)
        self.down, self.across = math.ceil(height / stored[0]), math.ceil(width / stored[1])
        self.count = self.down * self.across * (page.samplesperpixel if self.planar else 1)
        self._starts = _numbers(page.tags.valueof(324 if tiled else 273))
        self._lengths = _numbers(page.tags.valueof(325 if tiled else 279))
        if len(self._starts) != len(self._lengths):
            raise damaged(name, "TIFF strips without length")
        if len(self._starts) != self.count:
            raise damaged(name, f"TIFF has {len(self._starts)} of {self.count} parts")
        # A part may stand for several, such as empty tiles, but must not make much out of little.
        decoded = height * width * page.samplesperpixel * 2
        if sum(self._lengths) > len(data) + 2 * decoded:
            raise damaged(name, "TIFF parts lie over each other")

    def is_left_out(self, number: int) -> bool:
        """Whether nothing is stored for a part."""
        return self._lengths[number] == 0

    def part(self, number: int) -> Part:
        """Return a part, counted from 0. Raises InputError where the file ends before it."""
        start, length = self._starts[number], self._lengths[number]
        if start + length > len(self._data):
            raise cut_off(self._name, "TIFF ends inside its pixels")
        top = number // self.across % self.down * self.stored[0]
        left = number % self.across * self.stored[1]
        return Part(
            plane=number // (self.across * self.down),
            top=top,
            left=left,
            height=min(self.stored[0], self._page.imagelength - top),
            width=min(self.stored[1], self._page.imagewidth - left),
            stored=self.stored,
            data=self._data[start : start + length],
            number=number + 1,
        )


def _decoder(page: TiffPage, channels: int, name: str) -> Callable[[Part], Samples]:
    """Return the decoder of one part to (rows, columns, channels)."""
    packing = int(page.compression)
    if packing not in READ:
        raise unsupported(name, f"as TIFF with compression {page.compression!s}")
    if packing == JPEG:
        tables = page.jpegtables or b""
        ycbcr = int(page.photometric) == _YCBCR

        def of_jpeg(part: Part) -> Samples:
            return _jpeg_part(part, tables, name, ycbcr=ycbcr)

        return of_jpeg
    if packing == WEBP or packing in JPEG_2000:

        def of_image(part: Part) -> Samples:
            return _image_part(part, packing, channels, name)

        return of_image

    def of_bytes(part: Part) -> Samples:
        return _plain_part(part, page, channels, name)

    return of_bytes


def _plain_part(part: Part, page: TiffPage, channels: int, name: str) -> Samples:
    import imagecodecs  # noqa: PLC0415

    rows, columns = part.stored
    bits = page.bitspersample
    row_bytes = math.ceil(columns * channels * bits / 8)
    most = rows * row_bytes
    least = part.height * row_bytes if not page.is_tiled else most
    raw = part.data[:most]
    if int(page.compression) != _NONE:
        codec = getattr(imagecodecs, _BYTE_CODECS[int(page.compression)])
        try:
            # One byte more than possible, so that a bomb is noticed but not decompressed.
            raw = bytes(codec(part.data, out=most + 1))
        except (RuntimeError, ValueError, TypeError) as error:
            raise _corrupt(part, name) from error
    # Some writers fill the last strip up to full height.
    if not least <= len(raw) <= most:
        raise _corrupt(part, name)
    whole = len(raw) // row_bytes
    raw = raw[: whole * row_bytes]
    order = page.parent.byteorder
    if bits == 8:
        samples: Samples = np.frombuffer(raw, np.uint8)
    elif bits == 16:
        samples = np.frombuffer(raw, order + "u2").astype(np.uint16)
    else:
        samples = imagecodecs.packints_decode(
            raw, np.dtype(order + "u2"), bits, runlen=columns * channels
        ).astype(np.uint16)
    samples = samples.reshape(whole, columns, channels)
    if page.predictor == 2:
        # Differences to the pixel on the left, modulo the sample's width.
        samples = np.cumsum(samples, axis=1, dtype=samples.dtype)
    return samples


def _jpeg_part(part: Part, tables: bytes, name: str, *, ycbcr: bool) -> Samples:
    """Decode a JPEG whose tables are shared by all parts, and whose colours the TIFF names."""
    head = tables[2:-2] if tables.startswith(jpeg.SIGNATURE[:2]) else b""
    # Adobe's segment says whether three components are YCbCr; without it decoders guess.
    body = b"Adobe" + struct.pack(">HHHB", 100, 0, 0, int(ycbcr))
    adobe = b"\xff\xee" + struct.pack(">H", len(body) + 2) + body
    rest = part.data[2:]
    if rest.startswith(b"\xff\xe0") and len(rest) > 4:  # JFIF, which would override it
        rest = rest[2 + int.from_bytes(rest[2:4], "big") :]
    stream = part.data[:2] + adobe + head + rest
    where = f"{name}, part {part.number}"
    header = jpeg.read_header(stream, where)
    size = (header.height, header.width)
    if size not in (part.stored, (part.height, part.width)):
        raise _corrupt(part, name)
    return decoded_jpeg(stream, where)


def _image_part(part: Part, packing: int, channels: int, name: str) -> Samples:
    import imagecodecs  # noqa: PLC0415

    size = _webp_size(part.data) if packing == WEBP else _jpeg_2000_size(part.data)
    if size not in (part.stored, (part.height, part.width)):
        raise _corrupt(part, name)
    decode = imagecodecs.webp_decode if packing == WEBP else imagecodecs.jpeg2k_decode
    try:
        samples: Samples = np.asarray(decode(part.data))
    except (RuntimeError, ValueError, TypeError) as error:
        raise _corrupt(part, name) from error
    if packing == WEBP and samples.ndim == 3 and samples.shape[2] == 3 and channels == 4:
        # WebP omits an alpha channel that is opaque everywhere.
        samples = np.dstack([samples, np.full_like(samples[..., :1], 255)])
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.shape != (*size, channels) or samples.dtype not in (np.uint8, np.uint16):
        raise _corrupt(part, name)
    return samples


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return height and width from the first chunk (RFC 9649), (0, 0) if it has none."""
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return 0, 0
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", body[6:10])
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"VP8L":
        bits = struct.unpack("<I", body[1:5])[0]
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(body[7:10], "little") + 1, int.from_bytes(body[4:7], "little") + 1
    return 0, 0


def _jpeg_2000_size(data: bytes) -> tuple[int, int]:
    """Return height and width from the codestream's SIZ segment, (0, 0) if there is none."""
    at = data.find(b"\xff\x4f\xff\x51", 0, 1 << 16)
    if at < 0 or len(data) < at + 24:
        return 0, 0
    right, bottom, left, top = struct.unpack(">IIII", data[at + 8 : at + 24])
    return bottom - top, right - left


def _corrupt(part: Part, name: str) -> InputError:
    return damaged(name, f"TIFF part {part.number} is corrupt")


def _numbers(value: object) -> tuple[int, ...]:
    if isinstance(value, int):
        return (value,)
    return tuple(value) if isinstance(value, tuple) else ()
