"""Pictures as an eyepiece gives them: a bright disc in the dark."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgeapl.types import Frame, UInt8


@dataclass(frozen=True)
class Eyepiece:
    """Where the light falls on a picture.

    x, y : centre as shares of width and height. radius : as a share of the shorter side.
    soft : width of the rim as a share of the radius; 0 for a hard edge.
    dark : brightness that is left beyond. stamp : a date is written into the dark, and a scale
        bar into the field.
    """

    x: float = 0.5
    y: float = 0.5
    radius: float = 0.48
    soft: float = 0.0
    dark: float = 0.02
    stamp: bool = False

    def __call__(self, pixels: UInt8, noise: int = 0) -> UInt8:
        height, width = pixels.shape[:2]
        away, radius = self.distances(height, width)
        edge = max(self.soft * radius, 1.5)
        light = 0.5 - 0.5 * np.tanh(2 * (away - radius) / edge)
        light = self.dark + (1 - self.dark) * light
        grain = np.random.default_rng(noise).normal(0, 1.5, (height, width, 1))
        seen = np.clip(pixels * light[..., None] + grain, 0, 255).astype(np.uint8)
        if self.stamp:
            size = min(height, width) / 700
            at = (round(0.01 * width), round(0.98 * height))
            white = (250, 250, 240)
            cv2.putText(seen, "2021-03-04 11:12", at, 0, size, white, max(1, round(2 * size)))
            bar = np.s_[round(0.8 * height) : round(0.81 * height), round(0.45 * width) :]
            seen[bar][:, : round(0.12 * width)] = 255
        return seen

    def distances(self, height: int, width: int) -> tuple[np.ndarray, float]:
        """How far every pixel lies from the centre, and the radius, px."""
        y, x = np.mgrid[:height, :width].astype(np.float32)
        away = np.hypot(x - self.x * width, y - self.y * height)
        return away, self.radius * min(height, width)

    def of(self, frame: Frame) -> Frame:
        """The same frame through this eyepiece."""
        pixels = self(frame.pixels, frame.index)
        return Frame(
            pixels, frame.index, frame.captured_ns, frame.um_per_px, frame.source,
            f"{frame.index:064x}", frame.scale, frame.remarks,
        )  # fmt: skip


EYEPIECES = {
    "hard": Eyepiece(),
    "soft": Eyepiece(radius=0.45, soft=0.12),
    "very soft": Eyepiece(radius=0.42, soft=0.35, dark=0.05),
    "off centre": Eyepiece(x=0.42, y=0.55, radius=0.4, soft=0.03),
    "dark corners": Eyepiece(radius=0.62, soft=0.02),
    "cut at one side": Eyepiece(x=0.3, y=0.5, radius=0.6, soft=0.02),
    "cut at two sides": Eyepiece(x=0.4, y=0.4, radius=0.62, soft=0.05),
    "stamped": Eyepiece(radius=0.46, soft=0.02, stamp=True),
    "grey surround": Eyepiece(radius=0.46, soft=0.05, dark=0.2),
}
