"""The real thing on a real GPU: build, deserialise, run, compare with onnxruntime, measure.

    python -m tests.gpu.run_gpu_checks [--target tensorrt|tensorrt-rtx] [--bundle DIR]
        [--precision fp32 --precision fp16 --precision int8] [--batch N] [--runs N] [--json FILE]

Needs an NVIDIA driver, pycuda and the library; says so and ends with 0 where they are not there,
so that it may stand in any list of checks. Ends with 1 when an answer differs too much.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.load import open_bundle
from edgeapl.engines.registry import available_targets, open_engine
from edgeapl.engines.trt.build import Profile, build_plan
from edgeapl.engines.trt.engine import open_plan, place_here
from edgeapl.engines.trt.library import find_library
from edgeapl.engines.trt.plan import record_of
from edgeapl.errors import EngineError
from edgeapl.protocols import Engine
from tests.data.measure_plans import EMBEDDED, PRECISIONS, in_precision

TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2}
"""Largest difference of a probability or feature, relative to the largest value of its output.
INT8 has none here: its ranges are made up, so only that it runs, and how fast, is checked."""

MACHINE = "gpu checks"


def some_inputs(engine: Engine, rows: int, seed: int) -> dict[str, NDArray[np.generic]]:
    """Draw random inputs of the right types."""
    rng = np.random.default_rng(seed)
    made: dict[str, NDArray[np.generic]] = {}
    for name, (dtype, shape) in engine.inputs.items():
        size = tuple(rows if n is None else n for n in shape)
        if dtype == "uint8":
            made[name] = rng.integers(0, 256, size, dtype=np.uint8)
        else:
            made[name] = rng.random(size).astype(dtype)
    return made


def worst_difference(
    got: Mapping[str, NDArray[np.generic]], wanted: Mapping[str, NDArray[np.generic]]
) -> float:
    """Give the largest difference of any output, relative to its largest value; NaN is worst."""
    worst = 0.0
    for name, value in wanted.items():
        a, b = got[name].astype(np.float64), value.astype(np.float64)
        difference = float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-6))
        worst = max(worst, difference if np.isfinite(difference) else np.inf)
    return worst


def median_ms(engine: Engine, inputs: dict[str, NDArray[np.generic]], runs: int) -> float:
    """Time whole runs, copies included."""
    for _ in range(5):
        engine.run(inputs)
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        engine.run(inputs)
        times.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(times)


def check_network(
    name: str, model: bytes, precision: str, chosen: argparse.Namespace
) -> dict[str, Any]:
    """Build, open, compare and time one network."""
    library = find_library(chosen.target)
    batch: int = chosen.batch
    begun = time.perf_counter()
    written = in_precision(model, precision)
    plan = build_plan(written, name=name, library=library, profile=Profile(1, batch, batch))
    built_s = time.perf_counter() - begun
    record = record_of(plan, place_here(chosen.target, MACHINE))
    begun = time.perf_counter()
    engine = open_plan(chosen.target, name, plan, record, machine=MACHINE)
    opened_s = time.perf_counter() - begun
    reference = open_engine("onnxruntime", name, model, threads=4)
    worst = 0.0
    free = any(None in shape for _, shape in reference.inputs.values())
    for seed, rows in enumerate((1, batch, 2 * batch + 1) if free else (1, 1, 1)):
        inputs = some_inputs(reference, rows, seed)
        try:
            got = engine.run(inputs)
        except EngineError as error:
            if rows <= batch or "in parts" not in str(error):
                raise
            continue
        worst = max(worst, worst_difference(got, reference.run(inputs)))
    inputs = some_inputs(reference, batch, 9)
    milliseconds = median_ms(engine, inputs, chosen.runs)
    runtime = engine.runtime
    engine.close()
    flipped = bytes([*plan[:-1], plan[-1] ^ 1])
    try:
        open_plan(chosen.target, name, flipped, record, machine=MACHINE)
        refused = False
    except EngineError:
        refused = True
    limit = TOLERANCE.get(precision)
    return {
        "network": name,
        "precision": precision,
        "runtime": runtime,
        "plan_mib": round(len(plan) / 2**20, 1),
        "build_s": round(built_s, 1),
        "open_s": round(opened_s, 2),
        "batch": batch if free else 1,
        "median_ms": round(milliseconds, 3),
        "worst_difference": worst,
        "passed": refused and (limit is None or worst <= limit),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="tensorrt-rtx", choices=("tensorrt", "tensorrt-rtx"))
    parser.add_argument("--bundle", type=Path, default=EMBEDDED)
    parser.add_argument("--precision", action="append", choices=PRECISIONS)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found = {one.target: one for one in available_targets()}[chosen.target]
    if found.run:
        print(f"skipped: {chosen.target} can not run here: {found.run}")
        return
    bundle = open_bundle(chosen.bundle)
    rows = []
    for name, spec in bundle.manifest.networks.items():
        for precision in chosen.precision or PRECISIONS:
            try:
                row = check_network(name, bundle.read(spec.file), precision, chosen)
            except EngineError as error:
                row = {"network": name, "precision": precision, "error": str(error)}
            rows.append(row)
            print(json.dumps(row), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if all(row.get("passed") for row in rows) else 1)


if __name__ == "__main__":
    main()
