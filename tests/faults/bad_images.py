"""Every kind of bad image file, made on the spot."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from tests.pictures import (
    encoded,
    field,
    jpeg_with_components,
    png,
    png_rows,
    tiff,
)

FIELD = field(7)
JPEG = encoded(".jpg", FIELD)
PNG = encoded(".png", FIELD)
TIFF = tiff(FIELD)
_LZW_OPTIONS = (cv2.IMWRITE_TIFF_COMPRESSION, 5, cv2.IMWRITE_TIFF_ROWSPERSTRIP, 16)
LZW = encoded(".tiff", FIELD, *_LZW_OPTIONS)
_HALF = FIELD[:120]


def zeroed(data: bytes, share: float, count: int = 200) -> bytes:
    """Overwrite some bytes at a share of the length."""
    at = int(len(data) * share)
    return data[:at] + bytes(count) + data[at + count :]


def flipped(data: bytes, share: float) -> bytes:
    """Flip one bit at a share of the length."""
    at = int(len(data) * share)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _overlapping_lists(lists: int = 3000, tags: int = 900) -> bytes:
    """A chain of lists, each 12 bytes behind the one before, so that they share nearly all tags."""
    data = bytearray(b"II*\0" + struct.pack("<IH", 8, tags))
    for row in range(lists + tags):
        # What is a tag's number and type in one list is where the next begins in another.
        link = 8 + 12 * (row - tags + 1) if tags <= row + 1 < tags + lists else 60_100 + row
        data += struct.pack("<IIHH", link, 0, 0, tags)
    return bytes(data)


def _many_pages(count: int) -> bytes:
    """Images without tags."""
    lists = (struct.pack("<HI", 0, 8 + 6 * (number + 1)) for number in range(count))
    return b"II*\0" + struct.pack("<I", 8) + b"".join(lists) + bytes(6)


def _many_values() -> bytes:
    """Tags that all have the whole file as value."""
    tags = 500
    size = 8 + 2 + 12 * tags + 4
    rows = b"".join(struct.pack("<HHII", tag + 1, 1, size, 0) for tag in range(tags))
    return b"II*\0" + struct.pack("<IH", 8, tags) + rows + bytes(4)


def _packbits_that_do_nothing() -> bytes:
    """A strip of no-operations that all rows share."""
    row = b"".join(bytes([127]) + bytes(128) for _ in range(7)) + bytes([63]) + bytes(64)
    strip = b"\x80" * 100_000 + row
    plain = tiff(FIELD, {259: (3, [32773])}, strips=[strip] * 2, rows_per_strip=1)
    starts = plain.index(strip)
    tags = {
        259: (3, [32773]),
        273: (4, [starts] * 240),
        279: (4, [len(strip)] * 240),
    }
    made = tiff(FIELD, tags, strips=[strip], rows_per_strip=1)
    # `tiff` writes the place of the one strip; all others point at it too.
    at = made.index(strip)
    lengths = struct.pack("<240I", *[len(strip)] * 240)
    head = made[:at]
    places = struct.pack("<240I", *[at + 960] * 240)
    number = head.index(struct.pack("<HHI", 273, 4, 1))
    count = struct.pack("<HHII", 273, 4, 240, at)
    assert lengths in head
    return head[:number] + count + head[number + 12 :] + places + strip


def _jpeg_of_60000() -> bytes:
    """A JPEG whose header asks for 60000 x 60000 px."""
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", 60000, 60000) + JPEG[at + 4 :]


# name: (bytes, what the error must say)
FILES: dict[str, tuple[bytes, str]] = {
    "empty.png": (b"", "file is empty"),
    "text.png": (b"this is not a picture\n" * 9, "not an image that can be read (text)"),
    "page.jpg": (b"<html><img src=x onerror=alert(1)></html>", "(text)"),
    "noise.tif": (bytes(range(256)), "(unknown format)"),
    "jpeg2000.jpg": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64), "(JPEG 2000)"),
    "openexr.tif": (b"\x76\x2f\x31\x01" + bytes(64), "(OpenEXR)"),
    "radiance.png": (b"#?RADIANCE\n", "(Radiance HDR)"),
    "web.png": (b"RIFF\x40\0\0\0WEBPVP8 " + bytes(64), "(WebP cannot be decoded)"),
    "film.jpg": (b"GIF89a" + bytes(64), "(GIF)"),
    "big.tif": (b"II+\0\x08\0\0\0" + bytes(64), "TIFF without an image"),
    "jpeg_half.jpg": (JPEG[: len(JPEG) // 2], "image is cut off"),
    "jpeg_last_byte.jpg": (JPEG[:-1], "image is cut off"),
    "jpeg_end_mark.jpg": (JPEG[:-2], "image is cut off"),
    "jpeg_half_closed.jpg": (JPEG[: len(JPEG) // 2] + b"\xff\xd9", "image is damaged"),
    "jpeg_hole.jpg": (zeroed(JPEG, 0.5), "image is damaged"),
    "jpeg_head_only.jpg": (JPEG[:100], "image is cut off"),
    "jpeg_print.jpg": (jpeg_with_components(JPEG, 4), "print colours"),
    "jpeg_grey.jpg": (cv2.imencode(".jpg", FIELD[..., 1])[1].tobytes(), "image is grey"),
    "jpeg_12_bit.jpg": (
        JPEG.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"),
        "12 bits per channel",
    ),
    "png_half.png": (PNG[: len(PNG) // 2], "image is cut off"),
    "png_end_mark.png": (PNG[:-12], "image is cut off"),
    "png_bit.png": (flipped(PNG, 0.6), "checksum is wrong"),
    "png_60000.png": (png(60000, 60000, bytes(1000)), "image is too large"),
    "png_32000.png": (png(32000, 32000, bytes(1000)), "image is too large"),
    "png_lie.png": (png(320, 240, png_rows(_HALF)), "image is damaged"),
    "png_no_pixels.png": (
        PNG[:33] + b"\0\0\0\0IEND" + struct.pack(">I", zlib.crc32(b"IEND")),
        "no pixels",
    ),
    "png_16_bit.png": (encoded(".png", FIELD.astype(np.uint16) * 257), "16 bits per channel"),
    "png_grey.png": (cv2.imencode(".png", FIELD[..., 1])[1].tobytes(), "image is grey"),
    "png_glass.png": (
        png(320, 240, png_rows(np.dstack([FIELD, FIELD[..., 1]])), colour=6),
        "partly transparent",
    ),
    "png_key.png": (
        png(320, 240, png_rows(FIELD), chunks=[(b"tRNS", bytes(6))]),
        "transparent colour",
    ),
    "png_film.png": (
        png(320, 240, png_rows(FIELD), chunks=[(b"acTL", struct.pack(">II", 3, 0))]),
        "file holds 3 images",
    ),
    "one_pixel.png": (png(1, 1, b"\0abc"), "image is too small"),
    "tiff_half.tif": (TIFF[: len(TIFF) // 2], "image is cut off"),
    "tiff_head.tif": (TIFF[:40], "image is cut off"),
    "tiff_lzw.tif": (zeroed(LZW, 0.5), "is corrupt"),
    "tiff_deflate.tif": (
        tiff(FIELD, {259: (3, [8])}, strips=[flipped(zlib.compress(FIELD.tobytes()), 0.5)]),
        "is corrupt",
    ),
    "tiff_short_strip.tif": (tiff(FIELD, strips=[_HALF.tobytes()]), "is corrupt"),
    "tiff_strips.tif": (tiff(FIELD, rows_per_strip=16), "1 of 15 parts"),
    "tiff_30000.tif": (tiff(FIELD, {256: (4, [30000]), 257: (4, [30000])}), "image is too large"),
    "tiff_chain.tif": (_overlapping_lists(), "lie over each other"),
    "tiff_many_tags.tif": (b"II*\0\x08\0\0\0\xff\xff" + bytes(1_000_000), "65535 tags"),
    "tiff_many.tif": (_many_pages(5000), "more than 4096 images"),
    "tiff_one_value.tif": (_many_values(), "lie over each other"),
    "tiff_one_part.tif": (_packbits_that_do_nothing(), "lie over each other"),
    "tiff_bomb.tif": (
        tiff(FIELD, {259: (3, [8])}, strips=[zlib.compress(bytes(50_000_000))]),
        "is corrupt",
    ),
    "tiff_jpeg_bomb.tif": (
        tiff(FIELD, {259: (3, [7])}, strips=[_jpeg_of_60000()]),
        "is corrupt",
    ),
    "tiff_tile_bomb.tif": (
        tiff(
            FIELD,
            {322: (4, [1 << 28]), 323: (4, [1 << 28]), 324: (4, [0]), 325: (4, [64])},
            drop=[273, 278, 279],
        ),
        "tiles of",
    ),
    "tiff_ring.tif": (tiff(FIELD, next_at=8), "in a ring"),
    "tiff_16_bit.tif": (
        tiff(FIELD.astype(np.uint16) << 4, {281: (3, [1023] * 3)}),
        "where 10 bits are stated",
    ),
    "tiff_32_bit.tif": (tiff(FIELD.astype(np.uint32)), "32 bits per channel"),
    "tiff_float.tif": (
        tiff(np.full((20, 30, 3), np.nan, np.float32), {339: (3, [3, 3, 3])}),
        "floating-point numbers",
    ),
    "tiff_grey.tif": (tiff(FIELD[..., 1]), "image is grey"),
    "tiff_print.tif": (
        tiff(np.dstack([FIELD, FIELD[..., 1]]), {262: (3, [5])}, drop=[338]),
        "print colours",
    ),
    "tiff_glass.tif": (tiff(np.dstack([FIELD, FIELD[..., 1]])), "partly transparent"),
    "tiff_jpeg.tif": (tiff(FIELD, {259: (3, [7])}), "image is damaged"),
    "tiff_no_width.tif": (tiff(FIELD, drop=[256]), "tag 256 is missing"),
    "bmp_cut.bmp": (encoded(".bmp", FIELD)[:-1], "image is cut off"),
    "bmp_head.bmp": (b"BM" + bytes(10), "image is cut off"),
}


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _dangling(path: Path) -> None:
    path.symlink_to("is-not-there.png")


def _ring(path: Path) -> None:
    path.symlink_to(path.name)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


# name: (how to make it, what the error must say)
SPECIAL: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe.png": (_pipe, "a named pipe"),
    "folder.png": (_folder, "a folder"),
    "dangling.png": (_dangling, "link leads nowhere"),
    "ring.png": (_ring, "cannot be read"),
    "device.png": (_device, "a device"),
}

# Good images whose light is bad, and what the gate calls it.
GATED: dict[str, tuple[bytes, str]] = {
    "black.png": (encoded(".png", np.zeros_like(FIELD)), "black"),
    "white.png": (encoded(".png", np.full_like(FIELD, 255)), "saturated"),
}

# Good images with names that must not harm a terminal, a table or a page.
AWKWARD_NAMES = (
    b"new\nline.png",
    b"esc\x1b[31mred.png",
    b"<img src=x onerror=alert(1)>.png",
    b"=HYPERLINK(1).png",
    b"\xff\xfe latin \xe9.png",
    "left\u202egnp.png".encode(),
    b" leading space.png",
    b"-dash.png",
)


def make_bad_folder(folder: Path) -> dict[str, str]:
    """Fill a folder with every bad file; give name to what its error must say."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (data, _) in FILES.items():
        (folder / name).write_bytes(data)
    for name, (make, _) in SPECIAL.items():
        make(folder / name)
    expected = {name: what for name, (_, what) in FILES.items()}
    return expected | {name: what for name, (_, what) in SPECIAL.items()}


def make_awkward_names(folder: Path) -> list[Path]:
    """Write good images, each of another field, under awkward names."""
    paths = [folder / os.fsdecode(name) for name in AWKWARD_NAMES]
    for number, path in enumerate(paths):
        path.write_bytes(encoded(".png", field(100 + number)))
    return paths
