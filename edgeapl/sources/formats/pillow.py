"""Reads WebP and AVIF with Pillow, HEIF (phones' HEIC) with pillow-heif."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from edgeapl.sources.formats.colour import ColourError, profile_of_codes
from edgeapl.sources.formats.exif import Exif, read_exif
from edgeapl.sources.formats.header import ImageHeader, Still, damaged, grey, many, unsupported
from edgeapl.sources.formats.optional_formats import INCONSISTENT_FILE_ERRORS, library
from edgeapl.types import Remark, UInt8

AVIF_BRANDS = (b"avif", b"avis")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2")

_COLOURS = {"RGB": False, "RGBA": True}


def is_webp(data: bytes) -> bool:
    """Return whether a file begins like WebP."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def is_avif(data: bytes) -> bool:
    """Return whether a file begins like AVIF; its brand may be among the compatible ones."""
    return data[4:8] == b"ftyp" and _has_brand(data, AVIF_BRANDS)


def is_heif(data: bytes) -> bool:
    """Return whether a file begins like HEIF."""
    return data[4:8] == b"ftyp" and _has_brand(data, HEIF_BRANDS)


def _has_brand(data: bytes, brands: tuple[bytes, ...]) -> bool:
    end = min(int.from_bytes(data[:4], "big"), 256)
    listed = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
    return not listed.isdisjoint(brands)


def read_webp(data: bytes, name: str) -> Iterator[Still]:
    """Return the picture of a WebP. Raises InputError."""
    return _read(data, name, "WEBP", "WebP")


def read_avif(data: bytes, name: str) -> Iterator[Still]:
    """Return the picture of an AVIF. Raises InputError."""
    return _read(data, name, "AVIF", "AVIF")


def _read(data: bytes, name: str, pillow_name: str, called: str) -> Iterator[Still]:
    from PIL import Image  # noqa: PLC0415

    Image.MAX_IMAGE_PIXELS = None  # sizes are checked here, before anything is decoded
    try:
        image = Image.open(io.BytesIO(data), formats=(pillow_name,))
        frames = getattr(image, "n_frames", 1)
    except INCONSISTENT_FILE_ERRORS as error:
        raise damaged(name, f"{called} cannot be decoded") from error
    if frames > 1:
        raise many(name, frames)
    yield _still(image, name, called)


def read_heif(data: bytes, name: str) -> Iterator[Still]:
    """Yield every picture of a HEIF file, rotated as it says. Raises InputError."""
    heif = library("pillow_heif", name)
    try:
        images = list(heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True))
    except INCONSISTENT_FILE_ERRORS as error:
        raise damaged(name, "HEIF cannot be decoded") from error
    for image in images:
        yield _still(image, name, "HEIF")


def _still(image: Any, name: str, called: str) -> Still:
    """Make a still of an image of Pillow or pillow-heif: both have mode, size and info."""
    if image.mode in ("L", "LA"):
        raise grey(name)
    if image.mode not in _COLOURS:
        raise unsupported(name, f"as {called} of kind {image.mode}")
    width, height = image.size
    exif = _exif(image.info)
    icc, remarks = _profile(image.info, exif)
    # libheif and libavif have already applied rotations.
    turned = exif.orientation if called == "WebP" else 1
    alpha = _COLOURS[image.mode]
    header = ImageHeader(
        called, width, height, alpha, turned, remarks=remarks, icc=icc, costly=True
    )
    return Still(header, partial(_pixels, image, called))


def _exif(info: Mapping[str, Any]) -> Exif:
    block = info.get("exif")
    return read_exif(block.removeprefix(b"Exif\0\0")) if isinstance(block, bytes) else Exif()


def _profile(info: Mapping[str, Any], exif: Exif) -> tuple[bytes, tuple[Remark, ...]]:
    icc = info.get("icc_profile")
    if isinstance(icc, bytes) and icc:
        return icc, ()
    codes = info.get("nclx_profile")
    if not isinstance(codes, Mapping):
        return exif.icc, ()
    primaries, transfer = int(codes["color_primaries"]), int(codes["transfer_characteristics"])
    try:
        return profile_of_codes(primaries, transfer), ()
    except ColourError as error:
        text = f"the file's colours cannot be told ({error}); they were taken for sRGB"
        return b"", (Remark("colour", text, True),)


def _pixels(image: Any, called: str, name: str) -> tuple[UInt8, tuple[Remark, ...]]:
    try:
        pixels = np.array(image, dtype=np.uint8)
    except INCONSISTENT_FILE_ERRORS as error:
        raise damaged(name, f"{called} cannot be decoded") from error
    return pixels, ()
