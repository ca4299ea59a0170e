"""Time the chain on a real GPU where TensorRT is not to be had: torch computes the networks.

    python -m tests.data.measure_torch_gpu BUNDLE [--precision fp16] [--cells 169] [--frames 20]

Needs torch with CUDA and pycuda. What is real: page-locked memory, copies, streams, events, the
GPU's arithmetic, and the network that cuts cells. What is not: TensorRT and the speed of its
kernels, so only ratios within one run tell something. Research use only.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeapl.calibration.quantise.fp16 import to_fp16
from edgeapl.engines.trt.crop_network import widest
from edgeapl.engines.trt.driver import describe_gpu, load_driver
from edgeapl.inference import classify
from edgeapl.inference.routing import chain_links
from edgeapl.model import Model, open_model
from edgeapl.protocols import Engine
from edgeapl.stages.crop import cut_cells, uncut_cells
from edgeapl.types import Detections
from tests.data.measure_gpu import HEIGHT, WIDTH, measured, noise
from tests.gpu_chain import chain_on
from tests.torch_runtime import TorchTensorRt


class RealDriver:
    """The module ``pycuda.driver``, with what stand-ins of TensorRT ask a driver for."""

    def __init__(self) -> None:
        self._driver = load_driver()
        gpu = describe_gpu(self._driver)
        self.name = gpu.name
        self.capability = tuple(int(part) for part in gpu.compute_capability.split("."))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


def put_on(fake: TorchTensorRt, folder: Path, precision: str) -> Model:
    """Open a bundle whose networks of cells run there, chained."""
    model = open_model(folder)
    manifest = model.bundle.manifest
    links = chain_links(manifest)
    engines = {}
    for link in links:
        onnx = model.bundle.read(manifest.networks[link.network].file)
        plan = to_fp16(onnx, frozenset())[0] if precision == "fp16" else onnx
        engines[link.network] = fake.open(plan, link.network)
    chain = chain_on(fake, engines, links, manifest.crop)
    every: dict[str, Engine] = {**model.engines, **engines}
    return replace(model, engines=every, chain=chain, batch_size=fake.largest)


def difference_from_here(model: Model, folder: Path, found: Detections) -> float:
    """Give the largest difference of a probability from the CPU's, for the same cells."""
    manifest, chain = model.bundle.manifest, model.chain
    assert chain is not None
    spec = manifest.crop
    got = classify(manifest, model.engines, uncut_cells(found, spec), chain=chain).checked()
    with open_model(folder) as here:
        wanted = classify(manifest, here.engines, cut_cells(found, spec), 8)
    roles = wanted.scores.roles.items()
    return max(float(np.abs(got.scores.roles[role] - values).max()) for role, values in roles)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp16")
    parser.add_argument("--cells", type=int, default=169)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    asked = parser.parse_args()
    with open_model(asked.bundle) as here:
        manifest = here.bundle.manifest
    others = {
        "frame": HEIGHT * WIDTH,
        "labels": HEIGHT * WIDTH,
        "steps": widest(manifest.crop, manifest.um_per_px),
    }
    fake = TorchTensorRt(RealDriver(), "cuda", largest=asked.batch, others=others)
    with put_on(fake, asked.bundle, asked.precision) as model:
        cells = noise(model, asked.cells)
        found = measured(model, cells, asked.frames)
        apart = difference_from_here(model, asked.bundle, cells)
    print(f"{fake.driver.name}, torch {asked.precision}, {asked.cells} cells, batch {asked.batch}")
    print(f"engines one by one        {found.engines_s * 1e3:9.2f} ms")
    print(f"chain, one frame          {found.alone_s * 1e3:9.2f} ms")
    print(f"chain, frames in a row    {found.steady_s * 1e3:9.2f} ms each")
    print(f"kernels of networks alone {found.bare_s * 1e3:9.2f} ms")
    print(f"frames in a row over kernels {found.steady_s / found.bare_s:.2f}")
    print(f"bytes up {found.moved.up}, down {found.moved.down}")
    print(f"largest difference from the engines {found.difference:.2g}, from the CPU {apart:.2g}")


if __name__ == "__main__":
    main()
