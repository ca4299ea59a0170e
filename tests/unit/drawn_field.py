"""Small drawn smear fields with known cells, for the tests of the segmenter."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from edgeapl.types import Float32, Frame, UInt8

GLASS = (235.0, 232.0, 228.0)
# Optical densities R G B, near those of real Romanowsky-stained smears.
RED_CELL = (0.03, 0.20, 0.14)
NUCLEUS = (0.35, 0.50, 0.10)
CYTOPLASM = (0.10, 0.12, 0.02)
PLATELET = (0.15, 0.22, 0.05)
INK = (0.8, 0.8, 0.8)

Lobe = tuple[float, float, float]  # x, y, radius in µm


@dataclass
class Field:
    """A field of view in µm; draw() gives its pixels at any scale."""

    width: float = 64.0
    height: float = 48.0
    discs: list[tuple[Lobe, tuple[float, float, float]]] = field(default_factory=list)

    def disc(self, x: float, y: float, radius: float, density: tuple[float, float, float]) -> None:
        self.discs.append(((x, y, radius), density))

    def red_cells(self, away_from: list[tuple[float, float]] = (), gap: float = 12.0) -> None:  # type: ignore[assignment]
        """Fill the field with red cells of 7.4 µm, 3 % larger or smaller, none near the points."""
        random = np.random.default_rng(3)
        for y in np.arange(2, self.height, 9.5):
            for x in np.arange(3, self.width, 9.5):
                at = (float(x + random.uniform(-0.8, 0.8)), float(y + random.uniform(-0.8, 0.8)))
                size = 3.7 * float(random.uniform(0.97, 1.03))
                if all(np.hypot(at[0] - x0, at[1] - y0) > gap for x0, y0 in away_from):
                    self.disc(*at, size, RED_CELL)

    def cell(self, x: float, y: float, lobes: list[Lobe], radius: float = 6.0) -> None:
        """A white cell: cytoplasm of a radius, and lobes relative to its middle."""
        self.disc(x, y, radius, CYTOPLASM)
        for dx, dy, size in lobes:
            self.disc(x + dx, y + dy, size, NUCLEUS)

    def draw(self, um_per_px: float, *, vignette: bool = False) -> UInt8:
        height, width = round(self.height / um_per_px), round(self.width / um_per_px)
        density = np.zeros((height, width, 3), dtype=np.float32)
        for (x, y, radius), colour in self.discs:
            shape = np.zeros((height, width), dtype=np.uint8)
            centre = (round(x / um_per_px * 16), round(y / um_per_px * 16))
            cv2.circle(shape, centre, round(radius / um_per_px * 16), 1, cv2.FILLED, shift=4)
            density[shape > 0] = np.maximum(density[shape > 0], np.array(colour, np.float32))
        density = np.asarray(cv2.GaussianBlur(density, (0, 0), 0.25 / um_per_px), dtype=np.float32)
        light = np.array(GLASS, dtype=np.float32) * np.power(10.0, -density)
        if vignette:
            light = light * _vignette(height, width)
        noise = np.random.default_rng(5).normal(0, 1.5, light.shape)
        return np.asarray(np.clip(light + noise, 0, 255), dtype=np.uint8)


def _vignette(height: int, width: int) -> Float32:
    """Green in the middle, pink and dark at the rim, as through a wrongly set condenser."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    far = (x**2 + y**2)[..., None] / 2
    return np.asarray(
        (1 - far) * np.array([0.55, 0.75, 0.7]) + far * np.array([0.8, 0.45, 0.55]),
        dtype=np.float32,
    )


def close_field() -> UInt8:
    """A nucleated cell, and around it red cells that the edge cuts, most of them to a half."""
    field = Field(19, 19)
    for x, y in ((1, 2), (9, 0), (18, 1), (0, 10), (19, 9), (1, 18), (10, 19), (18, 18)):
        field.disc(x, y, 3.6, (0.21, 0.31, 0.15))
    field.disc(9.5, 9.5, 5.2, CYTOPLASM)
    field.disc(9.5, 9.5, 4.2, NUCLEUS)
    return field.draw(0.055)


def frame_of(pixels: UInt8, um_per_px: float) -> Frame:
    return Frame(pixels, 0, 0, um_per_px, "drawn", "0" * 64)
