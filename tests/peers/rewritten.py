"""What each rewriting of an INT8 network gains here: in turns with the plain one.

    python -m tests.peers.rewritten BUNDLE

BUNDLE is calibrated. Its first network that is quantised is run on noise, since time does not
depend on what the cells look like, by one worker a core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from edgeapl.bench.statistics import paired_ratio
from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.calibration.building.files import ranges_of
from edgeapl.calibration.quantise.blocks import in_blocks
from edgeapl.calibration.quantise.qdq import qdq_onnxruntime
from edgeapl.calibration.quantise.quick import quick_in_onnxruntime
from edgeapl.engines.registry import open_engine
from edgeapl.engines.store.machine import cpu, cpu_cores
from edgeapl.protocols import Engine

BATCH = 4
RUNS = 4
"""Of each worker in one turn."""


def variants(bundle: Bundle, name: str) -> Iterator[tuple[str, str, bytes]]:
    """Give (target, what was rewritten, network); of each target the plain one first."""
    model = bundle.read(bundle.manifest.networks[name].file)
    ranges = ranges_of(bundle)[name]
    plain = qdq_onnxruntime(model, ranges)
    blocks = qdq_onnxruntime(in_blocks(model), ranges)
    amx = "amx_int8" in cpu().capability.split()
    yield "onnxruntime", "plain", plain
    yield "onnxruntime", "channels in blocks", blocks
    yield "onnxruntime", "ReLU by table", quick_in_onnxruntime(plain, amx=False)
    if amx:
        yield "onnxruntime", "ReLU by table, products on AMX", quick_in_onnxruntime(plain, amx=True)
    yield "onnxruntime", "all", quick_in_onnxruntime(blocks, amx=amx)
    yield "openvino", "plain", plain
    yield "openvino", "channels in blocks", blocks


def timed(engine: Engine, pool: ThreadPoolExecutor, given: str, cells: np.ndarray) -> float:
    """Give the seconds in which every worker runs the network `RUNS` times."""

    def work() -> None:
        for _ in range(RUNS):
            engine.run({given: cells})

    start = time.perf_counter()
    for future in [pool.submit(work) for _ in range(cpu_cores())]:
        future.result()
    return time.perf_counter() - start


def main(show: Callable[[str], None] = print) -> None:
    """Read the command line, time all variants in turns, print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=12)
    wanted = parser.parse_args()
    bundle = open_bundle(wanted.bundle)
    name = next(iter(ranges_of(bundle)))
    spec = bundle.manifest.networks[name]
    cores, size = cpu_cores(), bundle.manifest.crop.size_px
    cells = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), dtype=np.uint8)
    engines = {
        (target, what): open_engine(target, name, network, threads=1, workers=cores)
        for target, what, network in variants(bundle, name)
    }
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in engines}
    with ThreadPoolExecutor(cores) as pool:
        for turn in range(wanted.rounds + 1):
            for key, engine in engines.items():
                taken = timed(engine, pool, spec.input, cells)
                if turn:  # the first makes buffers
                    seconds[key].append(taken)
    runs = cores * RUNS * BATCH
    for (target, what), taken_s in seconds.items():
        ratio = paired_ratio(seconds[target, "plain"], taken_s)
        low, high = ratio.interval or (ratio.value, ratio.value)
        ms = 1e3 * float(np.median(taken_s)) / runs
        show(
            f"{target:12} {what:32} {ms:6.1f} ms a cell, "
            f"{ratio.value:.2f} times as fast as plain ({low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    main()
