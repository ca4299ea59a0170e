"""Time one frame on a real GPU: the chain, the engines one by one, and the kernels alone.

    edgeapl build-engine BUNDLE --target tensorrt-rtx --out ENGINES
    python -m tests.data.measure_gpu BUNDLE ENGINES [--cells 169] [--frames 20]

The bundle is opened as at the station, so that its self-test is passed through the engines and
through the chain. Then the cells of a frame of noise are asked about: with cells cut here and
uploaded to one network after another, and cut on the GPU. Research use only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from edgeapl.bundle.specs import CropSpec
from edgeapl.engines.store.folder import open_engines
from edgeapl.engines.trt.engine import TrtEngine
from edgeapl.inference import InferenceResult, scheduler_for
from edgeapl.inference.routing import steps
from edgeapl.model import Model, ModelRequest, open_model
from edgeapl.protocols import TransferCounts
from edgeapl.stages.crop import cut_cells, uncut_cells
from edgeapl.types import Detections, Frame

HEIGHT, WIDTH = 1920, 2560
"""The published system's frame."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Figures of one frame, seconds. difference : largest, of any probability of a role.

    alone_s : a frame by itself. steady_s : each of many, one behind the other.
    bare_s : the kernels of all networks that see every cell.
    """

    engines_s: float
    alone_s: float
    steady_s: float
    bare_s: float
    difference: float
    moved: TransferCounts


def noise(model: Model, cells: int, height: int = HEIGHT, width: int = WIDTH) -> Detections:
    """Give a frame of noise with cells in it at the bundle's own scale."""
    rng = np.random.default_rng(0)
    spec: CropSpec = model.bundle.manifest.crop
    um_per_px = model.bundle.manifest.um_per_px
    side = max(8, round(spec.window_um / um_per_px / 2))
    boxes = np.empty((cells, 4), np.float32)
    labels = np.zeros((height, width), np.uint16)
    for row in range(cells):
        x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
        boxes[row] = x, y, x + side, y + side
        labels[y : y + side, x : x + side] = row + 1
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    frame = Frame(pixels, 0, 0, um_per_px, "noise", "0" * 64)
    return Detections(frame, boxes, labels, np.ones(cells, np.float32))


def measured(model: Model, found: Detections, frames: int) -> Timed:
    """Time all ways on one frame; the first of each does not count."""
    manifest, chain, ids = model.bundle.manifest, model.chain, np.arange(len(found))
    assert chain is not None, "these engines have no plan that cuts cells"

    def one_by_one() -> InferenceResult:
        scheduler = scheduler_for(manifest, model.engines, model.batch_size)
        scheduler.enter(ids, cut_cells(found, manifest.crop))
        return scheduler.run(flush=True)

    def there() -> InferenceResult:
        scheduler = scheduler_for(manifest, model.engines, model.batch_size, chain=chain)
        scheduler.enter(ids, uncut_cells(found, manifest.crop))
        return scheduler.run(flush=True)

    def many() -> None:
        scheduler = scheduler_for(manifest, model.engines, model.batch_size, chain=chain)
        for number in range(frames):
            scheduler.enter(ids + number * len(ids), uncut_cells(found, manifest.crop))
            while scheduler.ready(flush=False):
                scheduler.step(flush=False)
        scheduler.run(flush=True)

    engines_s, wanted = _median(one_by_one, frames)
    before = chain.moved
    alone_s, got = _median(there, frames)
    after = chain.moved
    runs = frames + 1
    moved = TransferCounts((after.up - before.up) // runs, (after.down - before.down) // runs, 1)
    start = time.perf_counter()
    many()
    steady_s = (time.perf_counter() - start) / frames
    roles = wanted.scores.roles
    difference = max(float(np.abs(got.scores.roles[r] - v).max()) for r, v in roles.items())
    bare_s = _bare(model, len(found), frames)
    return Timed(engines_s, alone_s, steady_s, bare_s, difference, moved)


def _median(work: Callable[[], InferenceResult], times: int) -> tuple[float, InferenceResult]:
    result = work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    assert not result.errors
    return median(seconds), result


def _bare(model: Model, cells: int, runs: int) -> float:
    total = 0.0
    for step in steps(model.bundle.manifest):
        engine = model.engines[step.network]
        assert isinstance(engine, TrtEngine)
        if step.when is None:
            full, rest = divmod(cells, model.batch_size)
            total += full * engine.bare_seconds(model.batch_size, runs) if full else 0.0
            total += engine.bare_seconds(rest, runs) if rest else 0.0
    return total


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("engines", type=Path)
    parser.add_argument("--cells", type=int, default=169)
    parser.add_argument("--frames", type=int, default=20)
    asked = parser.parse_args()
    with open_model(ModelRequest(asked.bundle, engines=open_engines(asked.engines))) as model:
        found = measured(model, noise(model, asked.cells), asked.frames)
        print(f"{model.runtime}, {asked.cells} cells, batches of {model.batch_size}")
    print(f"engines one by one  {found.engines_s * 1e3:9.2f} ms")
    print(f"chain, one frame    {found.alone_s * 1e3:9.2f} ms")
    print(f"chain, frames in a row {found.steady_s * 1e3:6.2f} ms each")
    print(f"kernels of networks alone {found.bare_s * 1e3:.2f} ms")
    print(f"frames in a row over kernels {found.steady_s / found.bare_s:.2f}")
    print(f"bytes up {found.moved.up}, down {found.moved.down}")
    print(f"largest difference of a probability {found.difference:.2g}")


if __name__ == "__main__":
    main()
