"""Soft masks of the things that are drawn, float32 0 to 1 on a square patch."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.sources.synthetic.cell_types import NucleusShape
from edgeapl.types import Float32

Random = np.random.Generator
SOFT_UM = 0.35
"""Width of an edge: the resolution of an oil immersion objective, wavelength over aperture."""


def blob(
    side: int,
    centre: tuple[float, float],
    radius: float,
    random: Random,
    *,
    wobble: float = 0.05,
    stretch: float = 1.0,
    soft: float = 2.0,
) -> Float32:
    """Draw a wobbly disc: centre and radius in px, `wobble` as a share of the radius."""
    rows, columns = np.ogrid[:side, :side]
    x, y = columns - centre[0], rows - centre[1]
    turn = random.uniform(0, np.pi)
    along = x * np.cos(turn) + y * np.sin(turn)
    across = -x * np.sin(turn) + y * np.cos(turn)
    distance = np.hypot(along / np.sqrt(stretch), across * np.sqrt(stretch))
    angle = np.arctan2(across, along)
    edge = np.ones_like(angle)
    for order in (2, 3, 4, 5):
        edge += wobble / order * random.normal() * np.cos(order * angle + random.uniform(0, 6.3))
    return _soften(radius * edge - distance, soft)


def _soften(inside: NDArray[np.float64], soft: float) -> Float32:
    return np.asarray(np.clip(inside / soft + 0.5, 0, 1), dtype=np.float32)


def nucleus_mask(
    side: int,
    centre: tuple[float, float],
    radius: float,
    shape: NucleusShape,
    random: Random,
    soft: float,
) -> Float32:
    """Draw a nucleus of the given shape; radius in px is that of the disc it lies in."""
    if shape in ("round", "oval"):
        stretch = random.uniform(1.0, 1.12 if shape == "round" else 1.4)
        return blob(side, centre, radius, random, stretch=stretch, soft=soft)
    if shape == "smudge":
        return blob(side, centre, radius, random, wobble=0.25, stretch=1.3, soft=5 * soft)
    turn = random.uniform(0, 2 * np.pi)
    if shape == "kidney":
        body = blob(side, centre, radius, random, stretch=1.25, soft=soft)
        away = radius * random.uniform(0.95, 1.2)
        bite_at = (centre[0] + away * np.cos(turn), centre[1] + away * np.sin(turn))
        bite = blob(side, bite_at, radius * random.uniform(0.5, 0.8), random, soft=soft)
        return np.asarray(body * (1 - bite), dtype=np.float32)
    return _lobes(side, centre, radius, shape, random, turn, soft)


def _lobes(
    side: int,
    centre: tuple[float, float],
    radius: float,
    shape: NucleusShape,
    random: Random,
    turn: float,
    soft: float,
) -> Float32:
    count = {"bilobed": 2, "band": 7, "segmented": int(random.integers(3, 6))}[shape]
    arc = {"bilobed": np.pi * random.uniform(0.8, 1.1), "band": 4.0, "segmented": 4.4}[shape]
    size = {"bilobed": 0.56, "band": 0.33, "segmented": 0.42}[shape]
    way = {"bilobed": 0.5, "band": 0.62, "segmented": 0.6}[shape]
    mask = np.zeros((side, side), dtype=np.float32)
    points = []
    for step in range(count):
        angle = turn + arc * (step / max(count - 1, 1) - 0.5)
        wander = 1 if shape == "band" else random.uniform(0.85, 1.15)
        point = (
            centre[0] + way * radius * wander * np.cos(angle),
            centre[1] + way * radius * wander * np.sin(angle),
        )
        lobe = size * radius * (1 if shape == "band" else random.uniform(0.85, 1.15))
        mask = np.maximum(mask, blob(side, point, lobe, random, wobble=0.06, soft=soft))
        points.append((round(point[0]), round(point[1])))
    bridge = np.zeros((side, side), dtype=np.float32)
    width = max(1, round(radius * (0.12 if shape == "segmented" else 0.3)))
    cv2.polylines(bridge, [np.array(points, dtype=np.int32)], False, 1.0, width)
    return np.maximum(mask, cv2.GaussianBlur(bridge, (0, 0), max(soft / 2, 0.5)))


def texture(side: int, grain_px: float, random: Random) -> Float32:
    """Draw smooth noise of mean 0 and standard deviation 1 with the given grain."""
    coarse = max(4, round(side / max(grain_px, 1.0)))
    noise = random.normal(0, 1, (coarse, coarse)).astype(np.float32)
    return np.asarray(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def specks(mask: Float32, count: int, diameter_px: tuple[float, float], random: Random) -> Float32:
    """Draw round granules at random places inside a mask."""
    canvas = np.zeros(mask.shape, dtype=np.float32)
    rows, columns = np.nonzero(mask > 0.5)
    if not len(rows) or not count:
        return canvas
    shift = 4  # cv2 draws at a sixteenth of a pixel
    for at in random.integers(0, len(rows), count):
        radius = max(0.5, random.uniform(*diameter_px) / 2)
        centre = (int(columns[at] * 2**shift), int(rows[at] * 2**shift))
        cv2.circle(
            canvas, centre, int(radius * 2**shift), float(random.uniform(0.5, 1)), -1,
            cv2.LINE_AA, shift,
        )  # fmt: skip
    return canvas


def rods(mask: Float32, count: int, um_per_px: float, random: Random) -> Float32:
    """Draw Auer rods: needles 2.5 to 6 µm long and 0.3 to 0.6 µm wide (WHO 2017)."""
    canvas = np.zeros(mask.shape, dtype=np.float32)
    rows, columns = np.nonzero(mask > 0.5)
    if not len(rows):
        return canvas
    at = int(random.integers(len(rows)))
    bundle = random.uniform(0, np.pi)
    for _ in range(count):
        turn = bundle + random.normal(0, 0.25)
        if random.uniform() < 0.4:
            at = int(random.integers(len(rows)))
        half = random.uniform(2.5, 6.0) / 2 / um_per_px
        x = columns[at] + random.normal(0, 0.6 / um_per_px)
        y = rows[at] + random.normal(0, 0.6 / um_per_px)
        ends = np.array(
            [
                [x - half * np.cos(turn), y - half * np.sin(turn)],
                [x + half * np.cos(turn), y + half * np.sin(turn)],
            ]
        )
        (x0, y0), (x1, y1) = np.rint(ends * 16).astype(int)
        width = max(1, round(random.uniform(0.3, 0.6) / um_per_px))
        start, end = (int(x0), int(y0)), (int(x1), int(y1))
        cv2.line(canvas, start, end, 1.0, width, cv2.LINE_AA, 4)
    return canvas * (mask > 0.2)
