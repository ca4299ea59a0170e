"""What each rewriting of an INT8 network gains here: in turns with the plain one.

    python -m tests.peers.rewritten BUNDLE

BUNDLE is calibrated. Its first network that is quantised is run on noise, since time does not
depend on what the cells look like, by one worker a core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeapl.bench.bare_networks import Setting, run_rows
from edgeapl.bench.statistics import paired_ratio
from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.calibration.builder.files import has_amx, quantise_int8, ranges_of
from edgeapl.calibration.quantise.blocks import pad_channels
from edgeapl.calibration.quantise.fast_kernels import AMX_PRODUCTS, optimise_for_onnxruntime
from edgeapl.calibration.quantise.qdq import qdq_onnxruntime
from edgeapl.cores import cpu_cores
from edgeapl.engines.registry import open_engine
from edgeapl.errors import EngineError
from edgeapl.protocols import Engine

BATCH = 4
TURN_S = 0.5
FEWEST = (1, 128, 256, AMX_PRODUCTS)
"""Products for one number from which on convolutions are computed on AMX."""


def variants(bundle: Bundle, name: str) -> Iterator[tuple[str, str, bytes]]:
    """Give (target, what was rewritten, network); of each target the plain one first."""
    model = bundle.read(bundle.manifest.networks[name].file)
    ranges = ranges_of(bundle)[name]
    plain = qdq_onnxruntime(model, ranges)
    blocks = qdq_onnxruntime(pad_channels(model), ranges)
    yield "onnxruntime", "plain", plain
    yield "onnxruntime", "channels in blocks", blocks
    yield "onnxruntime", "ReLU by table, colours spread", optimise_for_onnxruntime(plain, None)
    for fewest in FEWEST if has_amx() else ():
        what = f"the same, {fewest} products on AMX"
        yield "onnxruntime", what, optimise_for_onnxruntime(plain, fewest)
    yield "onnxruntime", "as built", quantise_int8(model, "onnxruntime", ranges, frozenset())
    yield "openvino", "plain", plain
    yield "openvino", "as built", quantise_int8(model, "openvino", ranges, frozenset())


def opened(bundle: Bundle, name: str) -> dict[tuple[str, str], Engine]:
    """Open all variants whose runtime is installed."""
    engines = {}
    for target, what, network in variants(bundle, name):
        try:
            engine = open_engine(target, name, network, threads=1, workers=cpu_cores())
        except EngineError as error:
            print(f"{target:12} {what:32} left out: {error}")
            continue
        engines[target, what] = engine
    return engines


def main() -> None:
    """Read the command line, time all variants in turns, print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=12)
    wanted = parser.parse_args()
    bundle = open_bundle(wanted.bundle)
    name = next(iter(ranges_of(bundle)))
    size = bundle.manifest.crop.size_px
    cells = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), dtype=np.uint8)
    rows = {bundle.manifest.networks[name].input: cells}
    setting = Setting(cpu_cores(), 1, BATCH)
    engines = opened(bundle, name)
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in engines}
    for _ in range(wanted.rounds):
        for key, engine in engines.items():
            seconds[key].append(1 / run_rows(engine, rows, setting, TURN_S).rows_per_s)
    for (target, what), taken in seconds.items():
        ratio = paired_ratio(seconds[target, "plain"], taken)
        low, high = ratio.interval or (ratio.value, ratio.value)
        print(
            f"{target:12} {what:32} {1e3 * float(np.median(taken)):6.1f} ms a cell, "
            f"{ratio.value:.2f} times as fast as plain ({low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    main()
