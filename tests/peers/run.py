"""Compare `edgeapl` with other tools on the same network and cells; see README.md beside it."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgeapl.bench.bare_networks import best_setting, joined, settings_to_try
from edgeapl.bench.candidate import Candidate, Setup, open_candidate
from edgeapl.bench.runner import Deadline, PipelineRunner
from edgeapl.bench.statistics import paired_ratio
from edgeapl.bench.usage import machine
from edgeapl.bench.workload import open_workload
from edgeapl.cores import cpu_cores
from edgeapl.journal import Journal
from edgeapl.model import EMBEDDED
from tests.peers.tools import (
    Call,
    Job,
    MissingTool,
    benchmark_app_ms,
    edgeapl_call,
    openvino_call,
    per_cell_call,
    torch_call,
)

PEERS: dict[str, Callable[[Job], Call]] = {
    "onnxruntime-per-cell": per_cell_call,
    "openvino": openvino_call,
    "torch-eager": torch_call,
}


def main() -> None:
    """Read the command line, run every peer, print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=EMBEDDED)
    parser.add_argument("--engines", default="none", help="auto, none or a folder")
    parser.add_argument("--images", help="folder or demo:// address")
    parser.add_argument("--cells", type=int, default=64, help="cells that are asked about")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    engines = wanted.engines if wanted.engines in ("auto", "none") else Path(wanted.engines)
    with ExitStack() as opened:
        candidate = opened.enter_context(open_candidate(Setup(wanted.bundle, engines)))
        job = cells_of(candidate, wanted.images, wanted.cells)
        result = {
            "machine": machine(),
            "network": job.name,
            "cells": len(job.crops),
            "engines": candidate.said,
            **compared(candidate, job, wanted.pairs, opened),
        }
    if wanted.json:
        json.dump(result, sys.stdout)
    else:
        print_result(result)


def cells_of(candidate: Candidate, images: str | None, count: int) -> Job:
    """Cut cells out of images with the pipeline, and take those that the first network is shown."""
    manifest = candidate.model.bundle.manifest
    candidate.ledger.keep = True
    with (
        open_workload(images, manifest.um_per_px) as workload,
        tempfile.TemporaryDirectory() as folder,
        Journal.open(Path(folder) / "journal.sqlite3") as journal,
    ):
        runner = PipelineRunner(candidate, journal, None)
        for slide in workload.slides:
            for most in (1, None):  # one frame may have enough cells
                runner.run(slide, most, Deadline())
                if candidate.ledger.work[manifest.roles[0].network].rows >= count:
                    break
    candidate.ledger.keep = False
    name = manifest.roles[0].network
    rows = joined(candidate.ledger.kept[name])
    (given,) = rows
    return Job(
        name,
        onnx_of(candidate, name),
        given,
        np.asarray(rows[given][:count], dtype=np.uint8),
    )


def onnx_of(candidate: Candidate, name: str) -> bytes:
    """Give the file that is run: of the engines, if they are ONNX, else of the bundle."""
    engines = candidate.engines
    if engines is not None and engines.origin(name) is None:
        return engines.read(name)
    bundle = candidate.model.bundle
    return bundle.read(bundle.manifest.networks[name].file)


def compared(candidate: Candidate, job: Job, pairs: int, opened: ExitStack) -> dict[str, Any]:
    """Run every peer in turns with ours."""

    def opener(threads: int, workers: int) -> Any:
        return candidate.open_again(job.name, threads, workers)

    batches = tuple(size for size in (1, 8) if size <= len(job.crops))
    best, _ = best_setting(opener, job.rows, settings_to_try(cpu_cores(), batches))
    ours = edgeapl_call(opener, job, best.setting, opened)
    ours()
    found: dict[str, Any] = {"setting": str(best.setting), "peers": {}, "left_out": {}}
    for name, make in PEERS.items():
        try:
            theirs = make(job)
        except MissingTool as reason:
            found["left_out"][name] = str(reason)
            continue
        found["peers"][name] = in_turns(theirs, ours, pairs, len(job.crops))
    try:
        found["benchmark_app_ms_per_cell"] = benchmark_app_ms(job)
    except MissingTool as reason:
        found["left_out"]["openvino-benchmark-app"] = str(reason)
    return found


def in_turns(theirs: Call, ours: Call, pairs: int, cells: int) -> dict[str, Any]:
    """Run two calls in turns and give their ratio."""
    theirs()  # not counted: the first call makes buffers
    a: list[float] = []
    b: list[float] = []
    for turn in range(pairs):
        for mine in (False, True) if turn % 2 == 0 else (True, False):
            with taken(b if mine else a):
                (ours if mine else theirs)()
    ratio = paired_ratio(a, b)
    return {
        "times_as_long_as_ours": ratio.value,
        "interval": ratio.interval,
        "ms_per_cell": 1e3 * sorted(a)[len(a) // 2] / cells,
        "our_ms_per_cell": 1e3 * sorted(b)[len(b) // 2] / cells,
    }


@contextmanager
def taken(into: list[float]) -> Iterator[None]:
    """Add the seconds spent inside."""
    start = time.perf_counter()
    yield
    into.append(time.perf_counter() - start)


def print_result(result: dict[str, Any]) -> None:
    """Print a table."""
    print(f"{result['network']}, {result['cells']} cells, {result['engines']}")
    print(f"{result['machine']}")
    print(f"ours: {result['setting']} (workers x threads)")
    for name, one in result["peers"].items():
        interval = one["interval"]
        span = "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})"
        print(
            f"{name}: {one['times_as_long_as_ours']:.2f} times as long{span}, "
            f"{one['ms_per_cell']:.2f} ms a cell, ours {one['our_ms_per_cell']:.2f}"
        )
    if "benchmark_app_ms_per_cell" in result:
        print(f"openvino benchmark_app: {result['benchmark_app_ms_per_cell']:.2f} ms a cell")
    for name, why in result["left_out"].items():
        print(f"left out: {name}: {why}")
    print("Research use only. Not for diagnosis.")


if __name__ == "__main__":
    main()
