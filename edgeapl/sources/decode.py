"""From an image file to pixels: bytes, then SHA-256, then a look at the structure, then decode."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgeapl.errors import InputError
from edgeapl.sources.decoder_words import caught_words
from edgeapl.sources.formats import read_header
from edgeapl.sources.formats.header import ImageHeader, damaged
from edgeapl.sources.names import printable
from edgeapl.sources.plain_file import read_plain_file
from edgeapl.types import UInt8

SMALLEST_SIDE_PX = 16
"""Less can not show a cell: 16 px at the coarsest scale in use, 0.5 µm per px, are 8 µm."""

_OPAQUE = 255
_BGR, _BGRA = 3, 4


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How large a file may be, before anything of it is decoded.

    max_bytes : of the file. max_pixels : width times height; 200 million need 0.6 GB of memory.
    """

    max_bytes: int = 512 * 2**20
    max_pixels: int = 200_000_000


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """One image file.

    pixels : uint8 (H, W, 3) RGB, as stored: an EXIF orientation is not applied, so that boxes fit
        the file. Read-only.
    sha256 : of the file's bytes, hex.
    um_per_px : from the file's resolution tags where they are sound for microscopy, else None.
    notes : what a user should know about the file, each a plain sentence.
    """

    pixels: UInt8
    sha256: str
    um_per_px: float | None = None
    notes: tuple[str, ...] = ()


_DEFAULT_LIMITS = ReadLimits()


def read_image(path: Path, *, limits: ReadLimits = _DEFAULT_LIMITS) -> DecodedImage:
    """Read one PNG, JPEG, TIFF or BMP file with 8-bit colours.

    Raises InputError, in one line, when the path is no plain readable file, or the image is of
    another kind, cut off, damaged, too large, too small, grey, of more than 8 bits per channel,
    partly transparent, in print colours, or one of several in its file.
    """
    return decode_image(read_plain_file(path, limits.max_bytes), printable(path), limits=limits)


def decode_image(data: bytes, name: str, *, limits: ReadLimits = _DEFAULT_LIMITS) -> DecodedImage:
    """Decode the bytes of one image file; `name` is how errors call it. Raises InputError."""
    digest = hashlib.sha256(data).hexdigest()
    header = read_header(data, name, limits.max_pixels)
    _check_size(header, name, limits)
    pixels = _decode(data, header, name)
    pixels.flags.writeable = False
    notes: tuple[str, ...] = ()
    if header.orientation != 1:
        said = f"its EXIF tag says to turn it (orientation {header.orientation})"
        notes = (f"examined as stored, although {said}",)
    return DecodedImage(pixels, digest, header.um_per_px, notes)


def _check_size(header: ImageHeader, name: str, limits: ReadLimits) -> None:
    width, height = header.width, header.height
    if width * height > limits.max_pixels:
        found = f"{width} x {height} px"
        most = f"give at most {limits.max_pixels // 1_000_000} million pixels"
        raise InputError(f"image is too large ({found})", name, most)
    if min(width, height) < SMALLEST_SIDE_PX:
        least = f"give at least {SMALLEST_SIDE_PX} px on each side"
        raise InputError(f"image is too small ({width} x {height} px)", name, least)


def _decode(data: bytes, header: ImageHeader, name: str) -> UInt8:
    kind = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    if header.alpha:
        kind = cv2.IMREAD_UNCHANGED  # keeps the opacity, and the orientation
    with caught_words() as words:
        try:
            image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), kind)
        except cv2.error as error:
            raise damaged(name, f"{header.format}: {error.err}") from error
    if words.damage:
        raise damaged(name, words.damage)
    if image is None:
        raise damaged(name, f"{header.format} can not be decoded")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (_BGR, _BGRA):
        raise damaged(name, f"{header.format} holds no 8-bit colour image")
    if image.shape[:2] != (header.height, header.width):
        raise damaged(name, f"{header.format} header gives a wrong size")
    if image.shape[2] == _BGRA:
        if int(image[..., 3].min()) != _OPAQUE:
            raise InputError("image is partly transparent", name, "save it without transparency")
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGB), dtype=np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), dtype=np.uint8)
