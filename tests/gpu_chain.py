"""Frames, cells and a chain of small networks on the fake GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.specs import ColoursSpec, CropSpec
from edgeapl.engines.ort import OrtEngine
from edgeapl.engines.trt.chain import TrtChain, open_chain
from edgeapl.engines.trt.crop_network import crop_network
from edgeapl.engines.trt.cutter import STEP
from edgeapl.engines.trt.engine import TrtEngine
from edgeapl.engines.trt.plan import StoredPlan, record_of
from edgeapl.protocols import CellsOnFrame, Link
from edgeapl.stages.colour_transfer import colours_of
from edgeapl.stages.views import flags_of
from edgeapl.testing import FakeDriver
from edgeapl.types import Frame, Int32, UInt16
from tests.fake_tensorrt import FakeTensorRt
from tests.small_bundle import SIZE, cell_network, head_network

SPEC = CropSpec(window_um=8.0, size_px=SIZE)
MASKED = CropSpec(window_um=8.0, size_px=SIZE, mask=True)
RECOLOURED = CropSpec(
    window_um=8.0,
    size_px=SIZE,
    mask=True,
    colour_transfer="reinhard",
    colours=ColoursSpec(mean=(-1.2, 0.1, 0.05), deviation=(1.1, 0.4, 0.2)),
)
TURNED = CropSpec(window_um=8.0, size_px=SIZE, views=8)
OTHERS = {"frame": 40_000, "labels": 40_000, "steps": 64, "colours": 2}
"""Largest pixels of a frame, and px of a cut, in these tests."""

LARGEST = 8

NETWORKS = {
    "cells": cell_network(),
    "second": head_network(),
    "more": cell_network(weights=np.array([[3, -9, 2], [1, 5, -4], [0, 2, 6]], np.float32)),
}
LINKS = (
    Link("cells", "cells", None, ("promyelocyte", "features")),
    Link("second", "ratios", ("cells", "features"), ("apl",)),
    Link("more", "cells", None, ("myeloblast",)),
)
NAMES = tuple(link.network for link in LINKS)

Answers = dict[str, dict[str, NDArray[np.generic]]]


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A frame of noise with cells in it; the first lies over its edge."""

    frame: Frame
    labels: UInt16
    squares: Int32
    numbers: Int32
    views: Int32 | None = None

    def on(self, place: int, rows: slice = slice(None)) -> CellsOnFrame:
        views = None if self.views is None else self.views[rows]
        return CellsOnFrame(place, self.squares[rows], self.numbers[rows], views)


def coloured(one: Field) -> Field:
    """Return the field with a frame that knows the colours of all its pixels."""
    colours = colours_of(one.frame.pixels.reshape(-1, 3))
    return replace(one, frame=replace(one.frame, colours=colours))


def turned(one: Field) -> Field:
    """Return the field with each cell in another view."""
    return replace(one, views=flags_of(np.arange(len(one.numbers)) % 8))


def field(seed: int, cells: int = 5, height: int = 120, width: int = 150) -> Field:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    # Half of each frame is coloured, so that cells and frames differ much in what networks say.
    pixels[:, : width // 2, seed % 3] = rng.integers(150, 256)
    labels = rng.integers(0, cells + 1, (height, width)).astype(np.uint16)
    squares = np.full((cells, 4), 40, np.int32)
    squares[:, 0] = rng.integers(0, width - 40, cells)
    squares[:, 1] = rng.integers(0, height - 40, cells)
    squares[0, :2] = -15, height - 20
    numbers = np.arange(1, cells + 1, dtype=np.int32)
    frame = Frame(pixels, seed, 0, 0.2, f"noise {seed}", "0" * 64)
    return Field(frame, labels, squares, numbers)


@dataclass(slots=True, eq=False)
class Chained:
    """A chain, the plans behind it, and what stands in for TensorRT and the GPU."""

    fake: FakeTensorRt
    engines: dict[str, TrtEngine]
    chain: TrtChain

    @property
    def driver(self) -> FakeDriver:
        return self.fake.driver

    def close(self) -> None:
        self.chain.close()
        for engine in self.engines.values():
            engine.close()


def engines_on(
    fake: FakeTensorRt, networks: Mapping[str, bytes] = NETWORKS
) -> dict[str, TrtEngine]:
    return {name: fake.open(network, name) for name, network in networks.items()}


def chain_on(
    fake: FakeTensorRt,
    engines: Mapping[str, TrtEngine],
    links: Sequence[Link] = LINKS,
    spec: CropSpec = SPEC,
) -> TrtChain:
    plan = crop_network(spec)
    stored = StoredPlan("tensorrt", "crop", plan, record_of(plan, fake.place), "this machine")
    return open_chain(stored, links, engines, driver=fake.driver, library=fake.library)


def chained(driver: FakeDriver | None = None, spec: CropSpec = SPEC) -> Chained:
    fake = FakeTensorRt(driver or FakeDriver(), LARGEST, OTHERS)
    engines = engines_on(fake)
    return Chained(fake, engines, chain_on(fake, engines, spec=spec))


def plainly(
    parts: Sequence[tuple[Field, slice]],
    spec: CropSpec = SPEC,
    networks: Sequence[str] = NAMES,
) -> Answers:
    """What the same networks give in onnxruntime alone, cells cut by the same network."""
    cutter, crops = OrtEngine("crop", crop_network(spec)), []
    for one, rows in parts:
        squares = one.squares[rows]
        inputs: dict[str, NDArray[np.generic]] = {
            "frame": one.frame.pixels.reshape(-1, 3),
            "extent": np.array(one.frame.pixels.shape[:2], np.int32),
            "places": squares,
            "steps": np.arange(-(-squares[:, 2:].max() // STEP) * STEP, dtype=np.int32),
        }
        if one.views is not None:
            inputs["views"] = one.views[rows]
        if one.frame.colours is not None:
            inputs["colours"] = one.frame.colours.rows
        if spec.mask:
            inputs["labels"] = one.labels.reshape(-1, 1).view(np.uint8)
            inputs["numbers"] = one.numbers[rows]
        crops.append(cutter.run(inputs)["cells"])
    found: Answers = {}
    for link in LINKS:
        if link.network not in networks:
            continue
        given = np.concatenate(crops) if link.after is None else found["cells"]["features"]
        answers = OrtEngine(link.network, NETWORKS[link.network]).run({link.input: given})
        found[link.network] = {key: answers[key] for key in link.outputs}
    return found


def same(got: Answers, wanted: Answers) -> bool:
    """Whether two lots of answers are the same, bit for bit."""
    return {name: set(outputs) for name, outputs in got.items()} == {
        name: set(outputs) for name, outputs in wanted.items()
    } and all(
        got[name][key].dtype == values.dtype and np.array_equal(got[name][key], values)
        for name, outputs in wanted.items()
        for key, values in outputs.items()
    )
