"""A good image is read exactly as stored, whatever its format."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeapl.errors import InputError
from edgeapl.sources.decode import ReadLimits, decode_image, read_image
from edgeapl.sources.decoder_messages import captured_messages
from tests.pictures import (
    encoded,
    field,
    png,
    png_rows,
    tiff,
    with_exif_orientation,
)

FIELD = field(1)
OPAQUE = np.dstack([FIELD, np.full_like(FIELD[..., 0], 255)])
PALETTE = np.arange(768, dtype=np.uint8).reshape(256, 3)[:, ::-1]
NUMBERS = np.arange(1024, dtype=np.uint16).astype(np.uint8).reshape(32, 32)
RGB_PALETTE = [(b"PLTE", PALETTE.tobytes())]
TIFF_LZW = (cv2.IMWRITE_TIFF_COMPRESSION, 5)
TIFF_PREDICTED = (*TIFF_LZW, cv2.IMWRITE_TIFF_PREDICTOR, 2)
TIFF_PACKBITS = (cv2.IMWRITE_TIFF_COMPRESSION, 32773)
SPLIT = [np.ascontiguousarray(FIELD[..., channel]).tobytes() for channel in range(3)]
STRIPS = [FIELD[row : row + 50].tobytes() for row in range(0, 240, 50)]
PADDED = [*STRIPS[:4], STRIPS[4] + bytes(320 * 3 * 10)]


@pytest.mark.parametrize(
    "data",
    [
        encoded(".png", FIELD),
        encoded(".bmp", FIELD),
        encoded(".tiff", FIELD, cv2.IMWRITE_TIFF_COMPRESSION, 1),
        encoded(".tiff", FIELD, *TIFF_LZW),
        encoded(".tiff", FIELD, *TIFF_PREDICTED),
        encoded(".tiff", FIELD, *TIFF_PACKBITS),
        encoded(".tiff", FIELD, cv2.IMWRITE_TIFF_COMPRESSION, 8),
        tiff(FIELD),
        tiff(FIELD, strips=STRIPS, rows_per_strip=50),
        tiff(FIELD, strips=PADDED, rows_per_strip=50),
        tiff(FIELD, {284: (3, [2])}, strips=SPLIT),
        tiff(FIELD, {259: (3, [8])}, strips=[zlib.compress(FIELD.tobytes())]),
        tiff(OPAQUE),
        png(320, 240, png_rows(OPAQUE), colour=6),
        encoded(".png", FIELD) + b"anything after the end",
    ],
)
def test_lossless_formats_give_the_very_pixels(data: bytes) -> None:
    image = decode_image(data, "a")
    assert np.array_equal(image.pixels, FIELD)
    assert image.sha256 == hashlib.sha256(data).hexdigest()
    assert image.remarks == ()
    assert not image.pixels.flags.writeable


def test_a_jpeg_keeps_red_red() -> None:
    red = np.full((64, 64, 3), (200, 30, 40), np.uint8)
    pixels = decode_image(encoded(".jpg", red), "a").pixels
    assert np.abs(pixels.astype(int) - red).max() < 4


@pytest.mark.parametrize("opacity", [[], [(b"tRNS", b"\xff\xff")]])
def test_a_colour_palette_is_looked_up(opacity: list[tuple[bytes, bytes]]) -> None:
    data = png(32, 32, png_rows(NUMBERS), colour=3, chunks=[*RGB_PALETTE, *opacity])
    assert np.array_equal(decode_image(data, "a").pixels, PALETTE[NUMBERS])


@pytest.mark.parametrize(
    ("chunks", "what"),
    [
        ([*RGB_PALETTE, (b"tRNS", b"\x10")], "partly transparent"),
        ([(b"PLTE", np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())], "image is grey"),
    ],
)
def test_a_palette_with_glass_or_greys_is_refused(
    chunks: list[tuple[bytes, bytes]], what: str
) -> None:
    numbers = NUMBERS * (NUMBERS % 2)
    with pytest.raises(InputError, match=what):
        decode_image(png(32, 32, png_rows(numbers), colour=3, chunks=chunks), "a")


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_turned_jpeg_is_read_as_stored_and_says_so(orientation: int) -> None:
    plain = encoded(".jpg", FIELD)
    turned = decode_image(with_exif_orientation(plain, orientation), "a")
    assert np.array_equal(turned.pixels, decode_image(plain, "a").pixels)
    assert [remark.text for remark in turned.remarks] == [
        f"examined as stored, although its tag says to turn it (orientation {orientation})",
    ]


IMAGEJ = b"ImageJ=1.53\nunit=micron\n"
OME = b'<OME><Pixels PhysicalSizeX="0.11" PhysicalSizeY="0.11" PhysicalSizeXUnit="%s"/></OME>'


def rational(per_unit: int) -> tuple[int, list[tuple[int, int]]]:
    return 5, [(per_unit, 1)]


@pytest.mark.parametrize(
    ("data", "um_per_px"),
    [
        (tiff(FIELD), None),
        (tiff(FIELD, {282: rational(72), 283: rational(72)}), None),
        (tiff(FIELD, {282: rational(9600), 283: rational(9600)}), None),
        (tiff(FIELD, {282: rational(100_000), 283: rational(100_000), 296: (3, [3])}), 0.1),
        (tiff(FIELD, {282: rational(254_000), 283: rational(254_000)}), 0.1),
        (tiff(FIELD, {282: rational(100_000), 283: rational(50_000), 296: (3, [3])}), None),
        (tiff(FIELD, {282: rational(0), 283: rational(0), 296: (3, [3])}), None),
        (tiff(FIELD, {282: rational(10), 283: rational(10), 296: (3, [1])}), None),
        (tiff(FIELD, {270: (2, IMAGEJ), 282: rational(10), 283: rational(10)}), 0.1),
        (tiff(FIELD, {270: (2, b"ImageJ=1\nunit=cm\n"), 282: rational(10)}), None),
        (tiff(FIELD, {270: (2, OME % "µm".encode())}), 0.11),
        (tiff(FIELD, {270: (2, OME % b"mm")}), None),
        (png(320, 240, png_rows(FIELD), chunks=[(b"pHYs", bytes(8) + b"\1")]), None),
        (png(320, 240, png_rows(FIELD), chunks=[(b"pHYs", b"\0\x98\x96\x80" * 2 + b"\1")]), 0.1),
        (png(320, 240, png_rows(FIELD), chunks=[(b"pHYs", b"\0\0\x0b\x13" * 2 + b"\1")]), None),
    ],
)
def test_only_a_scale_that_a_microscope_can_have_is_believed(
    data: bytes, um_per_px: float | None
) -> None:
    assert decode_image(data, "a").um_per_px == pytest.approx(um_per_px)


def test_limits_hold_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png", FIELD))

    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", refuse)
    with pytest.raises(InputError, match="file is too large"):
        read_image(path, limits=ReadLimits(max_bytes=100))
    with pytest.raises(InputError, match="320 x 240 px"):
        read_image(path, limits=ReadLimits(max_pixels=320 * 240 - 1))


def test_words_of_decoders_are_caught_and_others_pass(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_messages() as words:
        os.write(2, b"frame 3: CLEAR\nCorrupt JPEG data: bad Huffman code\n")
        os.write(
            2, b"[ WARN:0@0.3] global grfmt_tiff.cpp:123 TIFF_Warning unknown tag\n> more\n\n50 %\n"
        )
    assert words.damage == "Corrupt JPEG data: bad Huffman code"
    assert capfd.readouterr().err == "frame 3: CLEAR\n50 %\n"


def test_a_warning_alone_does_no_harm(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_messages() as words:
        os.write(2, b"libpng warning: iCCP: known incorrect sRGB profile\n")
    assert words.damage == ""
    assert capfd.readouterr().err == ""


def test_the_terminal_comes_back_after_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with captured_messages():
            os.write(2, b"before\n")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_damage_is_found_with_the_terminal_closed(tmp_path: Path) -> None:
    jpeg = encoded(".jpg", FIELD)
    path = tmp_path / "half.jpg"
    path.write_bytes(jpeg[: len(jpeg) // 2] + b"\xff\xd9")
    program = (
        "import os, sys; os.close(2)\n"
        "from pathlib import Path; from edgeapl.sources.decode import read_image\n"
        "from edgeapl.errors import InputError\n"
        "for _ in range(3):\n"
        "    try: read_image(Path(sys.argv[1]))\n"
        "    except InputError as error: print(error.what)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.count("image is damaged") == 3
