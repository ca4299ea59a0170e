"""Run plans through the real pycuda or cuda-bindings and print as JSON what came of it.

    python -m tests.pycuda_probe pycuda|cuda-bindings

Started by tests/cuda_stubs.py in a process whose CUDA driver is tests/cuda_stub.c. TensorRT is
the fake of tests/fake_tensorrt.py: only the memory, copies and contexts are what is tried here.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.ort import OrtEngine
from edgeapl.engines.trt.driver import describe_gpu, load_driver
from edgeapl.engines.trt.engine import TrtEngine
from edgeapl.engines.trt.memory import GpuMemory
from tests.cuda_stubs import StubDriver
from tests.fake_tensorrt import FakeTensorRt
from tests.gpu_chain import (
    LARGEST,
    MASKED,
    NAMES,
    OTHERS,
    Chained,
    Field,
    chain_on,
    chained,
    engines_on,
    field,
    plainly,
)
from tests.gpu_chain import same as same_answers
from tests.probing import said
from tests.small_bundle import SIZE, cell_network

PLAN = cell_network()
ILLEGAL_ADDRESS, OUT_OF_MEMORY, NO_DEVICE = 700, 2, 100
OPENING = {
    "cuDevicePrimaryCtxRetain": (0, OUT_OF_MEMORY),
    "cuCtxPushCurrent_v2": (0, OUT_OF_MEMORY),
    "cuMemHostAlloc": (1, OUT_OF_MEMORY),
    # When memory is short, pycuda collects garbage and tries again.
    "cuMemAlloc_v2": (1, ILLEGAL_ADDRESS),
}
CHAINED = (
    "cuMemHostAlloc",
    "cuMemAlloc_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuEventRecord",
    "cuStreamWaitEvent",
    "cuMemcpyDtoDAsync_v2",
    "cuMemsetD8Async",
    "cuMemcpyDtoHAsync_v2",
    "cuEventSynchronize",
)
CHAIN_OPENING = {
    "cuStreamCreate": 2,
    "cuEventCreate": 9,
    "cuMemAlloc_v2": 3,
    "cuMemHostAlloc": 5,
    "cuMemcpyHtoDAsync_v2": 0,
}
"""Call to how many of them succeed before one fails."""

RUNNING = (
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuMemcpyDtoHAsync_v2",
    "cuEventSynchronize",
)


def cells(rows: int) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(rows)
    return {"cells": rng.integers(0, 256, (rows, SIZE, SIZE, 3), dtype=np.uint8)}


def same(engine: TrtEngine, rows: int) -> bool:
    """Whether a run through the GPU gives what onnxruntime gives by itself."""
    wanted, got = OrtEngine("cells", PLAN).run(cells(rows)), engine.run(cells(rows))
    return set(wanted) == set(got) and all(
        np.allclose(got[key], wanted[key], atol=1e-6) for key in wanted
    )


def elsewhere(work: Callable[[], object]) -> Any:
    """Work on another thread."""
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    thread.join()
    return answers[0] if answers else "raised"


def without_gpu() -> str:
    """Load a driver that finds no GPU."""
    StubDriver(None).fail("cuInit", 0, NO_DEVICE)
    return said(load_driver)


def answers(driver: StubDriver) -> dict[str, Any]:
    fake = FakeTensorRt(driver)  # type: ignore[arg-type]
    engine = fake.open(PLAN)
    found = {
        "runtime": engine.runtime,
        "same": [same(engine, rows) for rows in (1, 3, 8, 20)],
        "same on another thread": elsewhere(lambda: same(engine, 5)),
        "while open": driver.live,
        "depth between": driver.depth,
    }
    found["bare seconds"] = engine.bare_seconds(3, 4)
    fake.silent = True
    found["never written is NaN"] = bool(np.isnan(engine.run(cells(3))["features"]).all())
    elsewhere(engine.close)
    return found


def failing_runs(driver: StubDriver) -> dict[str, list[str]]:
    found = {}
    for call in RUNNING:
        engine = FakeTensorRt(driver).open(PLAN)  # type: ignore[arg-type]
        driver.fail(call, 0, ILLEGAL_ADDRESS)
        found[call] = [said(lambda engine=engine: engine.run(cells(3))) for _ in range(2)]  # type: ignore[misc]
        engine.close()
    return found


def failing_openings(driver: StubDriver) -> dict[str, str]:
    found = {}
    for call, (after, code) in OPENING.items():
        driver.fail(call, after, code)
        found[call] = said(lambda: FakeTensorRt(driver).open(PLAN))  # type: ignore[arg-type]
    return found


def chain(driver: StubDriver) -> dict[str, Any]:
    """Run six batches through a chain, two under way at a time."""
    made = chained(driver, MASKED)  # type: ignore[arg-type]
    fields, got = [field(seed) for seed in range(6)], []
    for number, one in enumerate(fields):
        place = made.chain.put(one.frame, one.labels)
        assert place is not None
        if number >= made.chain.most_batches:
            got.append(made.chain.finish())
        parts = [one.on(place, slice(0, 2)), one.on(place, slice(2, 5))]
        made.chain.start(parts, NAMES)
        made.chain.drop(place)
    got += [made.chain.finish(), made.chain.finish()]
    halves = [((one, slice(0, 2)), (one, slice(2, 5))) for one in fields]
    found = {
        "same": [
            same_answers(one, plainly(two, MASKED)) for one, two in zip(got, halves, strict=True)
        ],
        "runtime": made.chain.runtime,
        "moved": dataclasses.asdict(made.chain.moved),
        "while open": driver.live,
        "depth between": driver.depth,
    }
    made.close()
    return {**found, "afterwards": driver.live}


def shared(driver: StubDriver) -> dict[str, Any]:
    """Run the chain on a GPU that shares the processor's memory."""
    os.environ["EDGEAPL_STUB_INTEGRATED"] = "yes"
    try:
        return chain(driver)
    finally:
        del os.environ["EDGEAPL_STUB_INTEGRATED"]


def failing_chains(driver: StubDriver) -> dict[str, list[str]]:
    found = {}
    for call in CHAINED:
        made, one = chained(driver), field(0)  # type: ignore[arg-type]
        driver.fail(call, 0, ILLEGAL_ADDRESS)

        def work(made: Chained = made, one: Field = one) -> None:
            place = made.chain.put(one.frame, one.labels)
            assert place is not None
            parts = [one.on(place, slice(0, 2)), one.on(place, slice(2, 5))]
            made.chain.start(parts, NAMES)
            made.chain.finish()

        found[call] = [said(work), said(work)]
        made.close()
    return found


def failing_chain_openings(driver: StubDriver) -> dict[str, tuple[str, bool]]:
    """Give what was said, and whether only the plans' own things are left."""
    found = {}
    for call, after in CHAIN_OPENING.items():
        fake = FakeTensorRt(driver, LARGEST, OTHERS)  # type: ignore[arg-type]
        engines = engines_on(fake)
        held = driver.live
        driver.fail(call, after, ILLEGAL_ADDRESS)
        text = said(lambda: chain_on(fake, engines))  # noqa: B023 - called at once
        found[call] = text, driver.live == held
        for engine in engines.values():
            engine.close()
    return found


def timed(driver: StubDriver) -> float:
    memory = GpuMemory(driver)
    with memory.active():
        first, last = (memory.event(timed=True).raw for _ in range(2))
        for event in (first, last):
            event.record(memory.stream.raw)
        last.synchronize()
        milliseconds = float(first.time_till(last))
        del first, last, event
    memory.close()
    return milliseconds


def main(interface: str) -> None:
    """Print all as one JSON value."""
    if interface != "pycuda":
        sys.modules["pycuda"] = None  # type: ignore[assignment]
    refused = without_gpu()
    driver = StubDriver(load_driver())
    found = {
        "without a GPU": refused,
        "gpu": dataclasses.asdict(describe_gpu(driver)),
        "answers": answers(driver),
        "failing runs": failing_runs(driver),
        "failing openings": failing_openings(driver),
        "chain": chain(driver),
        "failing chains": failing_chains(driver),
        "chain in shared memory": shared(driver),
        "failing chain openings": failing_chain_openings(driver),
        "milliseconds": timed(driver),
        "autoinit": "pycuda.autoinit" in sys.modules,
        "interface": driver.through,
    }
    gc.collect()
    print(json.dumps({**found, "left": driver.live, "depth": driver.depth}))


if __name__ == "__main__":
    main(sys.argv[1])
