"""Scans in DICOM: one file for each level, unpacked, as OpenSlide reads them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from edgeapl.types import UInt8

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
TILE = 256

_LONG = (b"OB", b"SQ")
_SPACED = (b"CS", b"DS", b"IS", b"SH")


def write_dicom(
    path: Path, pixels: UInt8, um_per_px: float, number: int, series: str = "2.25.77"
) -> None:
    """Write one level of a scan, uint8 (H, W, 3) RGB, in tiles. number : of the level, from 0."""
    height, width = pixels.shape[:2]
    rows, columns = -(-height // TILE), -(-width // TILE)
    padded = np.full((rows * TILE, columns * TILE, 3), 255, np.uint8)
    padded[:height, :width] = pixels
    tiles = padded.reshape(rows, TILE, columns, TILE, 3).swapaxes(1, 2)
    instance = f"2.25.{1000 + number}"
    kind = r"DERIVED\PRIMARY\VOLUME\RESAMPLED" if number else r"ORIGINAL\PRIMARY\VOLUME\NONE"
    side = f"{um_per_px / 1000:.8f}"
    spacing = _element(0x28, 0x30, b"DS", rf"{side}\{side}")
    measures = _element(0x28, 0x9110, b"SQ", _item(_element(0x18, 0x50, b"DS", "1"), spacing))
    body = [
        _element(0x08, 0x08, b"CS", kind),
        _element(0x08, 0x16, b"UI", WHOLE_SLIDE),
        _element(0x08, 0x18, b"UI", instance),
        _element(0x08, 0x60, b"CS", "SM"),
        _element(0x20, 0x0D, b"UI", "2.25.88"),
        _element(0x20, 0x0E, b"UI", series),
        _element(0x20, 0x13, b"IS", str(number)),
        _element(0x20, 0x52, b"UI", "2.25.99"),
        _element(0x20, 0x9311, b"CS", "TILED_FULL"),
        _element(0x28, 0x02, b"US", 3),
        _element(0x28, 0x04, b"CS", "RGB"),
        _element(0x28, 0x06, b"US", 0),
        _element(0x28, 0x08, b"IS", str(rows * columns)),
        _element(0x28, 0x10, b"US", TILE),
        _element(0x28, 0x11, b"US", TILE),
        *(_element(0x28, 0x100 + n, b"US", value) for n, value in enumerate((8, 8, 7, 0))),
        _element(0x48, 0x01, b"FL", um_per_px * width / 1000),
        _element(0x48, 0x02, b"FL", um_per_px * height / 1000),
        _element(0x48, 0x06, b"UL", width),
        _element(0x48, 0x07, b"UL", height),
        _element(0x48, 0x105, b"SQ", _item(_element(0x48, 0x106, b"SH", "1"))),
        _element(0x5200, 0x9229, b"SQ", _item(measures)),
        _element(0x7FE0, 0x10, b"OB", tiles.tobytes()),
    ]
    head = [
        _element(2, 0x01, b"OB", b"\0\1"),
        _element(2, 0x02, b"UI", WHOLE_SLIDE),
        _element(2, 0x03, b"UI", instance),
        _element(2, 0x10, b"UI", EXPLICIT_LITTLE_ENDIAN),
        _element(2, 0x12, b"UI", "2.25.5"),
    ]
    length = _element(2, 0, b"UL", sum(map(len, head)))
    path.write_bytes(b"".join([bytes(128), b"DICM", length, *head, *body]))


def _element(group: int, number: int, kind: bytes, value: str | bytes | float) -> bytes:
    if isinstance(value, str):
        value = value.encode("ascii")
    if not isinstance(value, bytes):
        value = struct.pack({b"US": "<H", b"UL": "<I", b"FL": "<f"}[kind], value)
    value += (b" " if kind in _SPACED else b"\0") * (len(value) % 2)
    tag = struct.pack("<HH", group, number) + kind
    if kind in _LONG:
        return tag + struct.pack("<HI", 0, len(value)) + value
    return tag + struct.pack("<H", len(value)) + value


def _item(*elements: bytes) -> bytes:
    content = b"".join(elements)
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content
