"""Small drawn fields and hand-made image files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from edgeapl.types import Frame, ScaleOrigin, UInt8

UM_PER_PX = 0.15


def field(seed: int = 0, height: int = 240, width: int = 320) -> UInt8:
    """Draw red cells and two nuclei, RGB."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), (236, 230, 234), np.uint8)
    for _ in range(height * width // 2400):
        at = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.circle(image, at, 24, (222, 178, 172), -1, cv2.LINE_AA)
        cv2.circle(image, at, 9, (230, 204, 200), -1, cv2.LINE_AA)
    for _ in range(2):
        at = (int(rng.integers(40, width - 40)), int(rng.integers(40, height - 40)))
        cv2.circle(image, at, 34, (170, 130, 190), -1, cv2.LINE_AA)
        cv2.circle(image, at, 26, (96, 50, 130), -1, cv2.LINE_AA)
    noise = rng.normal(0, 1.5, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def frame(pixels: UInt8, index: int = 0, um_per_px: float = UM_PER_PX) -> Frame:
    """Make a frame whose digest follows from its pixels."""
    digest = f"{zlib.crc32(pixels.tobytes()):064x}"
    return Frame(pixels.copy(), index, index, um_per_px, f"{index}.png", digest)


def stated_scale(pixels: UInt8) -> tuple[float, ScaleOrigin]:
    """Give a scale as if the user had stated it."""
    return UM_PER_PX, ScaleOrigin.STATED


def encoded(extension: str, pixels: np.ndarray[Any, Any], *options: int) -> bytes:
    """Encode RGB pixels with OpenCV."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(extension, bgr, list(options))
    assert done
    return data.tobytes()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Give a PNG chunk with its right checksum."""
    return (
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))
    )


def png(
    width: int,
    height: int,
    rows: bytes,
    *,
    colour: int = 2,
    bits: int = 8,
    chunks: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """Write a PNG by hand; `rows` as they are before compression."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, body) for kind, body in parts)


def png_rows(pixels: np.ndarray[Any, Any]) -> bytes:
    """Give pixels as PNG rows without filter."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


_TIFF_FORMS = {2: "s", 3: "H", 4: "I", 5: "II", 7: "s"}


def tiff(
    pixels: np.ndarray[Any, Any],
    changes: dict[int, tuple[int, Any]] | None = None,
    *,
    strips: Sequence[bytes] | None = None,
    rows_per_strip: int | None = None,
    next_at: int = 0,
    drop: Sequence[int] = (),
) -> bytes:
    """Write a little-endian TIFF by hand.

    changes : tag to (type, values), replacing or adding.
    strips : packed strips; without them the pixels as they are.
    next_at : where the next image is said to stand.
    """
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    bits = 8 * pixels.dtype.itemsize
    strips = strips if strips is not None else [pixels.tobytes()]
    tags: dict[int, tuple[int, Any]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits] * channels),
        259: (3, [1]),
        262: (3, [2 if channels >= 3 else 1]),
        273: (4, [0] * len(strips)),
        277: (3, [channels]),
        278: (4, [rows_per_strip or height]),
        279: (4, [len(strip) for strip in strips]),
    }
    if channels == 4:
        tags[338] = (3, [2])
    tags.update(changes or {})
    for tag in drop:
        del tags[tag]
    start = len(_tiff_head(tags, next_at))
    places = []
    for strip in strips:
        places.append(start)
        start += len(strip)
    if 273 in tags:
        tags[273] = (4, places)
    return _tiff_head(tags, next_at) + b"".join(strips)


def _tiff_head(tags: dict[int, tuple[int, Any]], next_at: int) -> bytes:
    rows = extra = b""
    after = 8 + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        kind, values = tags[tag]
        form = _TIFF_FORMS[kind]
        if kind in (2, 7):
            raw, count = values, len(values)
        else:
            raw = b"".join(
                struct.pack("<" + form, *(value if kind == 5 else (value,))) for value in values
            )
            count = len(values)
        if len(raw) > 4:
            place = struct.pack("<I", after + len(extra))
            extra += raw
        else:
            place = raw.ljust(4, b"\0")
        rows += struct.pack("<HHI", tag, kind, count) + place
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + rows + struct.pack("<I", next_at) + extra


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Put an EXIF block with an orientation into a JPEG."""
    block = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + block
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def jpeg_with_components(jpeg: bytes, count: int) -> bytes:
    """Make a JPEG's header claim another number of colour channels."""
    at = jpeg.index(b"\xff\xc0")
    length = struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
    segment = jpeg[at + 4 : at + 9] + bytes([count])
    segment += b"".join(bytes([number + 1, 0x11, 0]) for number in range(count))
    head = b"\xff\xc0" + struct.pack(">H", len(segment) + 2) + segment
    return jpeg[:at] + head + jpeg[at + 2 + length :]
