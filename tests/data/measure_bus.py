"""Count the bytes that go over the bus for one frame, cells uploaded and cells cut on the GPU.

    python -m tests.data.measure_bus

Counted on a GPU made of host memory, so no GPU is needed; networks that do little stand for the
real ones, of which only the number and the size of what they take matter here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgeapl.bundle.specs import CropSpec
from edgeapl.engines.trt.crop_network import MOST_CELLS, widest
from edgeapl.protocols import CellsOnFrame, Link, TransferCounts
from edgeapl.testing import FakeDriver
from edgeapl.types import Frame
from tests.fake_tensorrt import FakeTensorRt
from tests.gpu_chain import chain_on, engines_on
from tests.small_bundle import model

HEIGHT, WIDTH, CELLS, BATCH = 1920, 2560, 169, 16
"""The published system's frame, and its median of cells."""

RECIPES = {
    "eckardt2022": (CropSpec(window_um=19.972, size_px=299), 0.0668, 3),
    "manescu2023": (CropSpec(window_um=12.8, size_px=200), 0.064, 1),
    "yan2025": (CropSpec(window_um=25.0, size_px=448, resized_px=550, mask=True), 0.1, 3),
    "apl-cell-mil": (CropSpec(window_um=36.0, size_px=128, resized_px=144), 0.1, 1),
}
"""How cells are cut, the scale, and the networks that each cell is shown to; of yan2025's seven
a cell meets two to four."""


def network(size: int) -> bytes:
    """One number for each cell."""
    return model(
        [
            helper.make_node("Cast", ["cells"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        ],
        [helper.make_tensor_value_info("cells", TensorProto.UINT8, ["n", size, size, 3])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["n"])],
        {"axes": np.array([1, 2, 3])},
    )


def counted(
    spec: CropSpec, um_per_px: float, networks: int
) -> tuple[TransferCounts, TransferCounts]:
    """Give what is moved for one frame with cells uploaded, and with cells cut there."""
    side = round(spec.window_um / um_per_px)
    others = {"frame": HEIGHT * WIDTH, "labels": HEIGHT * WIDTH, "steps": widest(spec, um_per_px)}
    fake = FakeTensorRt(FakeDriver(), MOST_CELLS, others)
    engines = engines_on(fake, {f"n{i}": network(spec.size_px) for i in range(networks)})
    crops: NDArray[np.generic] = np.zeros((BATCH, spec.size_px, spec.size_px, 3), np.uint8)
    links = [Link(name, "cells", None, ("mean",)) for name in engines]
    chain = chain_on(fake, engines, links, spec)
    opened = chain.moved
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    place = chain.put(Frame(pixels, 0, 0, um_per_px, "frame", "0" * 64), labels)
    assert place is not None
    squares = np.full((CELLS, 4), side, np.int32)
    for first in range(0, CELLS, BATCH):
        rows = slice(first, min(first + BATCH, CELLS))
        numbers = np.arange(rows.start + 1, rows.stop + 1, dtype=np.int32)
        chain.start([CellsOnFrame(place, squares[rows], numbers)], tuple(engines))
        chain.finish()
        for engine in engines.values():
            engine.run({"cells": crops[: rows.stop - rows.start]})
    there = chain.moved
    uploaded = [engine.moved for engine in engines.values()]
    return (
        TransferCounts(sum(one.up for one in uploaded), sum(one.down for one in uploaded)),
        TransferCounts(there.up - opened.up, there.down - opened.down),
    )


def main() -> None:
    """Print a table."""
    print(f"{WIDTH} x {HEIGHT} px, {CELLS} cells, MB to the GPU for one frame")
    print("| recipe | networks | cells uploaded | cut there | ratio |")
    print("|---|---|---|---|---|")
    for name, (spec, um_per_px, networks) in RECIPES.items():
        before, after = counted(spec, um_per_px, networks)
        figures = f"{before.up / 1e6:.1f} | {after.up / 1e6:.1f} | {before.up / after.up:.2f}"
        print(f"| {name} | {networks} x {spec.size_px} px | {figures} |")


if __name__ == "__main__":
    main()
