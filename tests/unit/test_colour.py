"""The same look gives the same pixels, whatever colour space its file is in."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

from edgeapl.errors import InputError
from edgeapl.sources.decode import decode_image
from edgeapl.sources.formats.colour import ADOBE_GAMMA, ADOBE_RGB, DISPLAY_P3, profile_of, to_srgb
from edgeapl.types import UInt8
from tests.pictures import encoded, field, png, png_rows, tiff, with_exif_orientation

FIELD = field(1)
SRGB = ImageCms.createProfile("sRGB")
SRGB_BYTES = ImageCms.ImageCmsProfile(SRGB).tobytes()
PRO_PHOTO = profile_of(
    ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), (0.3457, 0.3585)), 1.8, "ProPhoto RGB"
)
ADOBE = profile_of(ADOBE_RGB, ADOBE_GAMMA, "Adobe RGB (1998)")
P3 = profile_of(DISPLAY_P3, None, "Display P3")
WIDE = {"ProPhoto RGB": PRO_PHOTO, "Adobe RGB (1998)": ADOBE, "Display P3": P3}


def stored(pixels: UInt8, icc: bytes) -> UInt8:
    """Give what a file with this profile holds so that it looks like sRGB pixels."""
    space = ImageCms.getOpenProfile(io.BytesIO(icc))
    done = ImageCms.profileToProfile(
        Image.fromarray(pixels), SRGB, space, ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB"
    )
    return np.asarray(done, dtype=np.uint8)


def iccp(icc: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"iCCP", b"name\0\0" + zlib.compress(icc))]


def png_of(pixels: UInt8, chunks: list[tuple[bytes, bytes]]) -> bytes:
    return png(pixels.shape[1], pixels.shape[0], png_rows(pixels), chunks=chunks)


def jpeg_of(pixels: UInt8, icc: bytes, most: int = 200) -> bytes:
    """Put a profile into a JPEG, in as many segments as it takes, the last one first."""
    data = encoded(".jpg", pixels, 1, 100)
    parts = [icc[at : at + most] for at in range(0, len(icc), most)]
    segments = []
    for number, part in enumerate(parts, 1):
        body = b"ICC_PROFILE\0" + bytes([number, len(parts)]) + part
        segments.append(b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body)
    return data[:2] + b"".join(reversed(segments)) + data[2:]


WRITERS: dict[str, Callable[[UInt8, bytes], bytes]] = {
    "png": lambda pixels, icc: png_of(pixels, iccp(icc)),
    "jpeg": jpeg_of,
    "tiff": lambda pixels, icc: tiff(pixels, {34675: (7, icc)}),
}


@pytest.mark.parametrize("space", WIDE)
@pytest.mark.parametrize("name", WRITERS)
def test_a_wide_space_looks_like_srgb(name: str, space: str) -> None:
    data = WRITERS[name](stored(FIELD, WIDE[space]), WIDE[space])
    image = decode_image(data, "a")
    off = np.abs(image.pixels.astype(int) - FIELD)
    assert off.mean() < 1.5
    assert [remark.code for remark in image.remarks] == ["colour"]
    assert space in image.remarks[0].text
    assert not image.remarks[0].doubtful


def chrm(*numbers: float) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(100_000 * number) for number in numbers))


ADOBE_CHRM = chrm(0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
SRGB_CHRM = chrm(0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


@pytest.mark.parametrize(
    ("chunks", "icc"),
    [
        ([(b"gAMA", struct.pack(">I", 100_000))], profile_of(gamma=1.0)),
        ([(b"gAMA", struct.pack(">I", 45_471)), ADOBE_CHRM], profile_of(ADOBE_RGB)),
        ([ADOBE_CHRM], profile_of(ADOBE_RGB)),
        ([(b"cICP", bytes([12, 13, 0, 1])), (b"sRGB", b"\0")], P3),
        ([*iccp(P3), (b"gAMA", struct.pack(">I", 100_000))], P3),
    ],
)
def test_what_a_png_says_of_its_colours_is_followed(
    chunks: list[tuple[bytes, bytes]], icc: bytes
) -> None:
    image = decode_image(png_of(stored(FIELD, icc), chunks), "a")
    assert np.abs(image.pixels.astype(int) - FIELD).mean() < 2
    assert [remark.code for remark in image.remarks] == ["colour"]


@pytest.mark.parametrize(
    "data",
    [
        png_of(FIELD, iccp(SRGB_BYTES)),
        png_of(FIELD, [(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100_000)), ADOBE_CHRM]),
        png_of(FIELD, [(b"gAMA", struct.pack(">I", 45_455)), SRGB_CHRM]),
        png_of(FIELD, [(b"gAMA", struct.pack(">I", 45_455))]),
        png_of(FIELD, [(b"cICP", bytes([1, 13, 0, 1]))]),
        tiff(FIELD, {34675: (7, SRGB_BYTES)}),
    ],
)
def test_srgb_by_any_name_keeps_the_very_pixels(data: bytes) -> None:
    image = decode_image(data, "a")
    assert np.array_equal(image.pixels, FIELD)
    assert image.remarks == ()


@pytest.mark.parametrize(
    ("adobe", "srgb"), [((219, 0, 0), (255, 0, 0)), ((144, 255, 60), (0, 255, 0)),
                        ((127, 127, 127), (127, 127, 127))],
)  # fmt: skip
def test_known_colours_of_adobe_rgb_become_those_of_srgb(
    adobe: tuple[int, int, int], srgb: tuple[int, int, int]
) -> None:
    turned, _ = to_srgb(np.full((20, 20, 3), adobe, np.uint8), ADOBE)
    assert np.abs(turned[0, 0].astype(int) - srgb).max() <= 3


def exif_block(space: int, index: bytes) -> bytes:
    """Give EXIF with a colour space and an interoperability index (Exif 2.32, 4.6.3)."""
    first = struct.pack("<HHHII", 1, 0x8769, 4, 1, 26) + bytes(4)
    rows = struct.pack("<HHIHH", 0xA001, 3, 1, space, 0) + struct.pack("<HHII", 0xA005, 4, 1, 56)
    exif = struct.pack("<H", 2) + rows + bytes(4)
    interop = struct.pack("<HHHI4sI", 1, 1, 2, 4, index, 0)
    return b"II*\0" + struct.pack("<I", 8) + first + exif + interop


@pytest.mark.parametrize(
    ("space", "index", "adobe"),
    [
        (0xFFFF, b"R03\0", True),
        (2, b"R98\0", True),
        (1, b"R98\0", False),
        (0xFFFF, b"R98\0", False),
    ],
)
def test_a_camera_that_says_adobe_rgb_in_exif_alone_is_understood(
    space: int, index: bytes, adobe: bool
) -> None:
    body = b"Exif\0\0" + exif_block(space, index)
    jpeg = encoded(".jpg", stored(FIELD, ADOBE) if adobe else FIELD, 1, 100)
    data = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
    image = decode_image(data, "a")
    assert np.abs(image.pixels.astype(int) - FIELD).mean() < 2
    assert ["Adobe RGB" in remark.text for remark in image.remarks] == [True] * adobe


GREY = b"".join((PRO_PHOTO[:16], b"GRAY", PRO_PHOTO[20:]))


@pytest.mark.parametrize(
    "data",
    [
        png_of(FIELD, iccp(b"no profile")),
        png_of(FIELD, iccp(PRO_PHOTO[:200])),
        png_of(FIELD, iccp(GREY)),
        png_of(FIELD, [(b"iCCP", b"name\0\0" + zlib.compress(PRO_PHOTO)[:50])]),
        png_of(FIELD, iccp(bytes(20_000_000))),
        png_of(FIELD, [(b"gAMA", bytes(4))]),
        png_of(FIELD, [(b"gAMA", b"1")]),
        png_of(FIELD, [chrm(0, 0, 0, 0, 0, 0, 0, 0)]),
        png_of(FIELD, [(b"cICP", bytes([9, 16, 0, 1]))]),
    ],
)
def test_colours_that_can_not_be_told_bar_clear(data: bytes) -> None:
    image = decode_image(data, "a")
    assert np.array_equal(image.pixels, FIELD)
    (remark,) = image.remarks
    assert remark.code == "colour"
    assert remark.doubtful
    assert remark.text.isprintable()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_image_is_examined_as_stored(orientation: int) -> None:
    jpeg = encoded(".jpg", FIELD)
    block = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
    for data in (
        with_exif_orientation(jpeg, orientation),
        png_of(FIELD, [(b"eXIf", block)]),
        tiff(FIELD, {274: (3, [orientation])}),
    ):
        image = decode_image(data, "a")
        upright = decode_image(jpeg, "a").pixels if data[:2] == b"\xff\xd8" else FIELD
        assert np.array_equal(image.pixels, upright)
        assert f"(orientation {orientation})" in image.remarks[0].text


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_print_colours_and_greys_are_refused_with_a_way_out(mode: str) -> None:
    made = io.BytesIO()
    Image.fromarray(FIELD).convert(mode).save(made, "JPEG", icc_profile=SRGB_BYTES)
    with pytest.raises(InputError) as caught:
        decode_image(made.getvalue(), "a")
    assert caught.value.mend
