"""From an image file to pixels: read the bytes, hash them, check the structure, then decode."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgeapl.errors import InputError
from edgeapl.sources.formats import read_stills
from edgeapl.sources.formats.colour import to_srgb
from edgeapl.sources.formats.header import ImageHeader, Still, damaged, many
from edgeapl.sources.formats.scanners import refuse_preview
from edgeapl.sources.regular_file import read_plain_file
from edgeapl.types import Remark, UInt8
from edgeapl.wording.printable import printable

SMALLEST_SIDE_PX = 16
"""Fewer px cannot show a cell: at the coarsest scale in use, 0.5 µm per px, 16 px are 8 µm."""

_OPAQUE = 255
_RGB, _RGBA = 3, 4


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How large a file may be; checked before anything of it is decoded.

    max_bytes : of the file. max_pixels : width times height; 200 million need 0.6 GB of memory.
    max_costly_pixels : the same for WebP, AVIF, HEIF and JPEG XL, whose decoders need 1 GB for it.
    """

    max_bytes: int = 512 * 2**20
    max_pixels: int = 200_000_000
    max_costly_pixels: int = 64_000_000


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """One picture of an image file.

    pixels : uint8 (H, W, 3) RGB, as stored: an EXIF orientation is not applied, so that boxes fit
        the file. Read-only.
    sha256 : of the file's bytes, hex.
    um_per_px : as stated in the file, if plausible for microscopy, else None.
    size_unused : why a stated pixel size is not used; empty if it is used or none is stated.
    remarks : what a user should know about the file.
    part : which picture of its file it is, ``#0`` and so on; empty for the only one.
    """

    pixels: UInt8
    sha256: str
    um_per_px: float | None = None
    size_unused: str = ""
    remarks: tuple[Remark, ...] = ()
    part: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) that identifies this picture, so that one field is never counted twice."""
        return digest_of_part(self.sha256, self.part)


Reading = Callable[[], DecodedImage]
"""Decodes one picture of a file. Raises InputError."""

_DEFAULT_LIMITS = ReadLimits()


def digest_of_part(sha256: str, part: str) -> str:
    """Return the digest of one of a file's pictures: that of the text ``SHA256#1``, for example.

    The only picture of a file (`part` is empty) has the digest of the file.
    """
    return hashlib.sha256(f"{sha256}{part}".encode()).hexdigest() if part else sha256


def read_image(path: Path, *, limits: ReadLimits = _DEFAULT_LIMITS) -> DecodedImage:
    """Read a file that holds one picture.

    Raises InputError when the path is not a readable plain file, or the image is of another format,
    truncated, damaged, too large, too small, grey, partly transparent, in print colours, or one of
    several in its file.
    """
    return decode_image(read_plain_file(path, limits.max_bytes), printable(path), limits=limits)


def decode_image(data: bytes, name: str, *, limits: ReadLimits = _DEFAULT_LIMITS) -> DecodedImage:
    """Decode the bytes of one image file; `name` is used in errors. Raises InputError."""
    readings = decode_images(data, name, limits=limits)
    if len(readings) > 1:
        raise many(name, len(readings))
    return readings[0]()


def read_images(
    path: Path, *, limits: ReadLimits = _DEFAULT_LIMITS, stored: Path | None = None
) -> tuple[Reading, ...]:
    """Read one file, and return a decoder for each of its pictures, at least one.

    stored : where the content lies, if not where `path` says.

    Raises InputError as `read_image` does; an undecodable picture raises it when it is decoded.
    """
    refuse_preview(path, printable(path))
    content = read_plain_file(stored or path, limits.max_bytes)
    return decode_images(content, printable(path), limits=limits)


def read_source(source: Path) -> DecodedImage:
    """Read the picture that a frame's source names: a file, or one of its pictures, ``FILE#0``."""
    file, mark, number = str(source).rpartition("#")
    if not mark or not number.isdecimal() or os.path.lexists(source):
        return read_image(source)
    readings = read_images(Path(file))
    if int(number) >= len(readings):
        raise InputError("file has fewer pictures than before", printable(file), "run it again")
    return readings[int(number)]()


def decode_images(
    data: bytes, name: str, *, limits: ReadLimits = _DEFAULT_LIMITS
) -> tuple[Reading, ...]:
    """Check the bytes of one image file, and return a decoder for each of its pictures."""
    digest = hashlib.sha256(data).hexdigest()
    stills = tuple(read_stills(data, name))
    if not stills:
        raise damaged(name, "no picture in it")
    parts = [f"#{number}" if len(stills) > 1 else "" for number in range(len(stills))]
    return tuple(
        partial(_decoded, still, digest, name, part, limits)
        for still, part in zip(stills, parts, strict=True)
    )


def _decoded(still: Still, digest: str, name: str, part: str, limits: ReadLimits) -> DecodedImage:
    header = still.header
    name += part
    _check_size(header, name, limits)
    pixels, remarks = still.decode(name)
    pixels = _opaque(pixels, header, name)
    remarks = (*header.remarks, *remarks)
    if header.icc:
        pixels, turned = to_srgb(pixels, header.icc)
        remarks += turned
    if header.orientation != 1:
        said = f"its tag says to turn it (orientation {header.orientation})"
        remarks += (Remark("orientation", f"examined as stored, although {said}"),)
    pixels.flags.writeable = False
    size = header.size
    return DecodedImage(pixels, digest, size.um, size.unused, remarks, part)


def _check_size(header: ImageHeader, name: str, limits: ReadLimits) -> None:
    width, height = header.width, header.height
    allowed = limits.max_pixels
    if header.costly:
        allowed = min(allowed, limits.max_costly_pixels)
    if width * height > allowed:
        found = f"{width} x {height} px"
        most = f"give at most {allowed // 1_000_000} million pixels"
        most += ", or PNG or TIFF" if allowed < limits.max_pixels else ""
        raise InputError(f"image is too large ({found})", name, most)
    if min(width, height) < SMALLEST_SIDE_PX:
        least = f"give at least {SMALLEST_SIDE_PX} px on each side"
        raise InputError(f"image is too small ({width} x {height} px)", name, least)


def _opaque(pixels: UInt8, header: ImageHeader, name: str) -> UInt8:
    """Check a decoder's output, and drop an alpha channel that is opaque."""
    if pixels.shape[:2] != (header.height, header.width):
        raise damaged(name, f"{header.format} header gives a wrong size")
    if pixels.shape[2] == _RGBA:
        if int(pixels[..., 3].min()) != _OPAQUE:
            raise InputError("image is partly transparent", name, "save it without transparency")
        pixels = np.ascontiguousarray(pixels[..., :_RGB])
    return pixels
