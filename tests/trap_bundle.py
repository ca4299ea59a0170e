"""A bundle that answers at once, but takes its time over a cell with a black spot in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from onnx import TensorProto, helper

from edgeapl.bundle.load import Bundle
from edgeapl.types import UInt8
from tests.slow_networks import adding_body
from tests.small_bundle import drawn_field, pooled_network, small_bundle


def trap_network(turns: int) -> bytes:
    """The network of the small bundle; a batch with a black pixel costs `turns` turns of a loop."""
    before = [
        helper.make_node("ReduceMin", ["float"], ["least"], keepdims=0),
        helper.make_node("Less", ["least", "half"], ["dark"]),
        helper.make_node("Cast", ["dark"], ["number"], to=TensorProto.INT64),
        helper.make_node("Mul", ["number", "turns"], ["count"]),
        helper.make_node("Loop", ["count", "yes", "start"], ["turned"], body=adding_body()),
        helper.make_node("Mul", ["turned", "nothing"], ["zero"]),
        helper.make_node("ReduceMean", ["scaled", "axes"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "zero"], ["features"]),
    ]
    values = {
        "axes": np.array([1, 2]),
        "half": np.float32(0.5),
        "turns": np.array([turns]),
        "yes": np.array(True),
        "start": np.zeros(1, np.float32),
        "nothing": np.zeros(1, np.float32),
        "weights": np.asarray(20 * np.eye(3), dtype=np.float32),
        "bias": np.full(3, -12, dtype=np.float32),
    }
    return pooled_network(before, values)


def trap_bundle(folder: Path, turns: int) -> Bundle:
    """Write the small bundle with that network."""
    return small_bundle(folder, cells=trap_network(turns))


def trap_field(cells: Sequence[tuple[int, int]], seed: int) -> UInt8:
    """Draw a field whose every cell has a black spot; no two are alike."""
    image = drawn_field(cells).copy()
    for x, y in cells:
        cv2.circle(image, (x, y), 2, (0, 0, 0), -1)
    noise = np.random.default_rng(seed).integers(0, 3, image.shape)
    return np.where(image > 0, np.clip(image + noise, 0, 255), 0).astype(np.uint8)
