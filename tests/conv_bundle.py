"""A small bundle whose cell network has a convolution, and drawn smears to calibrate it on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from onnx import helper

from edgeapl.bundle.load import Bundle
from edgeapl.types import UInt8
from tests.small_bundle import png, pooled_network, small_bundle


def conv_network(bias: float = -6.0) -> bytes:
    """Colour through a 3 x 3 convolution, its mean as features, one sigmoid per role."""
    weights = np.zeros((3, 3, 3, 3), dtype=np.float32)
    for channel in range(3):
        weights[channel, channel] = 1 / 9
    before = [
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("ReduceMean", ["relu", "axes"], ["features"], keepdims=0),
    ]
    values = {
        "kernel": weights,
        "axes": np.array([2, 3]),
        "weights": np.asarray(10 * np.eye(3), dtype=np.float32),
        "bias": np.full(3, bias, dtype=np.float32),
    }
    return pooled_network(before, values)


def conv_bundle(folder: Path) -> Bundle:
    """Write the small bundle with that network."""
    return small_bundle(folder, cells=conv_network())


def smear(seed: int) -> UInt8:
    """Draw a field 300 x 300 px at 0.2 µm per px: six nuclei of different colour and grain."""
    random = np.random.default_rng(seed)
    image = np.full((300, 300, 3), (235, 230, 232), np.float64)
    left, top = random.integers(0, 45, 2).tolist()
    for x in range(left, 300, 45):
        for y in range(top, 300, 45):
            cv2.circle(image, (x, y), 18, (222, 178, 172), -1)
    places = [(55 + 95 * (n % 3), 55 + 95 * (n // 3)) for n in range(9)]
    for place in random.choice(9, 6, replace=False):
        at = tuple(value + int(random.integers(-11, 12)) for value in places[place])
        colour = np.array((105, 55, 140)) + random.integers(-25, 26, 3)
        cv2.circle(image, at, 34, (205, 195, 225), -1)
        cv2.circle(image, at, int(random.integers(22, 28)), colour.tolist(), -1)
        for _ in range(12):
            spot = (np.array(at) + random.integers(-14, 15, 2)).tolist()
            cv2.circle(image, spot, 4, (colour - random.integers(10, 45)).tolist(), -1)
    image = cv2.GaussianBlur(image, (0, 0), 1) + random.normal(0, 2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def write_slides(folder: Path, slides: int, frames: int = 4, first: int = 0) -> Path:
    """Write slides of drawn frames, one folder each."""
    for slide in range(first, first + slides):
        (folder / f"slide{slide}").mkdir(parents=True)
        for frame in range(frames):
            path = folder / f"slide{slide}" / f"{frame}.png"
            path.write_bytes(png(smear(100 * slide + frame)))
    return folder
