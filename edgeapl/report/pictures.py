"""Pictures of frames and cells: overlays as files, small pictures for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from edgeapl.errors import StorageError
from edgeapl.report.cell_classes import CellKind
from edgeapl.report.outline import Ring
from edgeapl.report.unexamined_area import lost_parts, shade
from edgeapl.types import ExaminedFrame, Float32, Frame, UInt8

OVERLAY_PX = 1280
"""Longer side of an overlay: lossless, about 1.4 MB in 60 ms on one core."""

PAGE_FRAME_PX = 960
THUMBNAIL_PX = 320
CELL_PX = 128
LARGEST_CELL_PX = 256
"""Pictures of cells have the pixels of their frame up to this size, and can so be enlarged."""

CELL_WINDOW_UM = 24.0
"""Side of the square around a cell: promyelocytes are 15 to 25 µm wide (Bain 2015). It is the same
for all cells, so that sizes can be compared by eye."""

PADDING = 236
LEGEND_PX = 34
INK = (24, 24, 24)
PAPER = (250, 250, 248)
SUBPIXEL_BITS = 4
RESEARCH_USE_ONLY = "Research use only. Not for diagnosis."


def png_bytes(pixels: UInt8) -> bytes:
    """Encode RGB pixels as PNG. Raises StorageError."""
    # Run-length matching was the fastest and the smallest of zlib's strategies on smear images.
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, 3]
    return _encoded(".png", pixels, settings)


def jpeg_bytes(pixels: UInt8, quality: int = 85) -> bytes:
    """Encode RGB pixels as JPEG. Raises StorageError."""
    return _encoded(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encoded(ending: str, pixels: UInt8, settings: Sequence[int]) -> bytes:
    done, data = cv2.imencode(ending, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), settings)
    if not done:
        raise StorageError("picture cannot be encoded", f"{pixels.shape}", "report this as a fault")
    return data.tobytes()


def shrunk(pixels: UInt8, longest: int) -> UInt8:
    """Scale down until no side is longer than this; never up."""
    factor = min(1.0, longest / max(pixels.shape[:2]))
    if factor == 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def thumbnail_bytes(overlay: UInt8) -> bytes:
    """Return a small JPEG of an overlay, for the page over all slides."""
    return jpeg_bytes(shrunk(overlay, THUMBNAIL_PX), 75)


def draw_overlay(
    examined: ExaminedFrame,
    kinds: Sequence[CellKind],
    outlines: Sequence[tuple[Ring, ...]],
    longest: int = OVERLAY_PX,
) -> UInt8:
    """Draw a frame with the outline of every cell in the colour of its class.

    Suspicious cells have thick outlines and their number; cells without a score have dashed ones.
    Below are a scale bar, a legend and the research notice. Unexamined parts are hatched.
    """
    picture = shrunk(examined.frame.pixels, longest).copy()
    shade(picture, examined.tiles)
    factor = max(picture.shape[:2]) / max(examined.frame.pixels.shape[:2])
    rows = sorted(range(len(kinds)), key=lambda row: kinds[row].suspicious)
    for row in rows:
        for ring in outlines[row]:
            _draw_ring(picture, ring * factor, kinds[row])
    for row in rows:
        if kinds[row].suspicious:
            _draw_number(picture, examined.detections.boxes[row] * factor, int(examined.ids[row]))
    counts: dict[CellKind, int] = {}
    for kind in kinds:
        counts[kind] = counts.get(kind, 0) + 1
    lost = lost_parts(examined.tiles)
    legend = _legend(counts, picture.shape[1], examined.frame.um_per_px / factor, lost)
    return np.concatenate([picture, legend])


def _draw_ring(picture: UInt8, ring: Ring, kind: CellKind) -> None:
    # cv2 puts the centre of the first pixel at 0, rings put it at 0.5.
    points = np.rint((ring - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)
    if not kind.scored:
        for part in _dashes(ring - 0.5):
            _line(picture, part, (255, 255, 255), 4, closed=False)
            _line(picture, part, kind.colour, 2, closed=False)
        return
    width = 3 if kind.suspicious else 2
    _line(picture, points, (255, 255, 255), width + 2, closed=True)
    _line(picture, points, kind.colour, width, closed=True)


def _line(
    picture: UInt8, points: np.ndarray, colour: tuple[int, int, int], width: int, *, closed: bool
) -> None:
    cv2.polylines(picture, [points], closed, colour, width, cv2.LINE_AA, SUBPIXEL_BITS)


def _dashes(ring: Ring, dash: float = 6.0) -> list[np.ndarray]:
    """Cut a closed line into dashes and gaps of this length, px."""
    closed = np.concatenate([ring, ring[:1]])
    lengths = np.hypot(*np.diff(closed, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    parts = []
    for start in np.arange(0, along[-1], 2 * dash):
        at = np.linspace(start, min(start + dash, along[-1]), 4)
        points = np.stack([np.interp(at, along, closed[:, axis]) for axis in (0, 1)], axis=1)
        parts.append(np.rint(points * 2**SUBPIXEL_BITS).astype(np.int32))
    return parts


def _draw_number(picture: UInt8, box: Float32, number: int) -> None:
    """Write a cell's number above its box, or inside it at the top of the frame."""
    text, size = str(number), 0.55
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 2)
    x = int(np.clip((box[0] + box[2] - width) / 2, 2, max(2, picture.shape[1] - width - 2)))
    y = int(box[1]) - 6
    if y < height + 4:
        y = min(int(box[1]) + height + 8, picture.shape[0] - 4)
    cv2.rectangle(picture, (x - 3, y - height - 4), (x + width + 3, y + 4), INK, -1)
    _write(picture, text, (x, y), size, (255, 255, 255), 2)


def _write(
    picture: UInt8,
    text: str,
    at: tuple[int, int],
    size: float,
    colour: tuple[int, int, int],
    width: int,
) -> None:
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, text, at, font, size, colour, width, cv2.LINE_AA)


def _legend(counts: Mapping[CellKind, int], width: int, um_per_px: float, lost: str) -> UInt8:
    """Draw the legend below an overlay; entries that do not fit go to another line."""
    size, gap = 0.45, 18
    entries: list[tuple[str, CellKind | None]] = [(RESEARCH_USE_ONLY, None)]
    ordered = sorted(counts, key=lambda kind: (not kind.suspicious, not kind.scored, kind.name))
    entries += [(f"{kind.name} ({counts[kind]})", kind) for kind in ordered]
    entries += [(f"hatched, not examined: {lost}", None)] if lost else []
    bar_um, bar = _scale_bar(um_per_px, width)
    x, line, places = 10 + bar + 60 + gap, 0, []
    for text, kind in entries:
        needed = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0] + 22 + gap
        if x + needed > width and x > 10:
            x, line = 10, line + 1
        places.append((text, kind, x, line))
        x += needed
    strip = np.full(((line + 1) * LEGEND_PX, width, 3), PAPER, dtype=np.uint8)
    cv2.line(strip, (10, 17), (10 + bar, 17), INK, 3)
    _write(strip, f"{bar_um} um", (18 + bar, 21), size, INK, 1)
    for text, kind, left, row in places:
        middle = row * LEGEND_PX + 17
        if kind is not None:
            thick = 3 if kind.suspicious else 2
            cv2.circle(strip, (left + 8, middle), 7, kind.colour, thick, cv2.LINE_AA)
            if not kind.scored:
                cv2.line(strip, (left + 8, middle - 9), (left + 8, middle + 9), PAPER, 5)
        _write(strip, text, (left + (22 if kind else 0), middle + 4), size, INK, 1)
    return strip


def _scale_bar(um_per_px: float, width: int) -> tuple[int, int]:
    """Return the length of a scale bar, µm and px: the shortest that is easy to see."""
    lengths = [(um, round(um / um_per_px)) for um in (1, 2, 5, 10, 20, 50, 100, 200, 500)]
    fitting = [(um, px) for um, px in lengths if px <= width // 4]
    visible = [(um, px) for um, px in fitting if px >= 50]
    return (visible or fitting[-1:] or lengths[:1])[0]


def cell_picture(frame: Frame, box: Float32, *, crops: bool) -> UInt8:
    """Cut the square around a cell, uint8 (S, S, 3); grey where the frame ends.

    S is `CELL_PX`, or more where the frame has more pixels, up to `LARGEST_CELL_PX`.

    It is `CELL_WINDOW_UM` wide, or as wide as a larger cell; for crops it is the whole image.
    """
    if crops:
        x0, y0, x1, y1 = 0.0, 0.0, float(frame.width), float(frame.height)
        side = max(frame.width, frame.height)
    else:
        x0, y0, x1, y1 = (float(edge) for edge in box)
        # Never wider than the frame: a wrong scale must not allocate gigabytes.
        window = min(CELL_WINDOW_UM / frame.um_per_px, max(frame.width, frame.height))
        side = math.ceil(max(window, 1.1 * (x1 - x0), 1.1 * (y1 - y0)))
    left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
    inside = frame.pixels[max(0, top) : top + side, max(0, left) : left + side]
    square = np.full((side, side, 3), PADDING, dtype=np.uint8)
    y, x = max(0, -top), max(0, -left)
    square[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    size = min(max(CELL_PX, side), LARGEST_CELL_PX)
    method = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (size, size), interpolation=method), dtype=np.uint8)
