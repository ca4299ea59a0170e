"""OpenVINO: alone with itself, and with no precision that nobody chose."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeapl import cores
from edgeapl.engines.registry import open_engine
from edgeapl.errors import EngineError
from edgeapl.model import ModelRequest, open_model
from tests.small_bundle import SIZE, cell_network, small_bundle

pytest.importorskip("openvino")
from edgeapl.engines.openvino import OpenVinoEngine, _has_all_cores

ALONE = """
import sys
from edgeapl.engines.openvino import OpenVinoEngine
from tests.small_bundle import cell_network
OpenVinoEngine("cells", cell_network()).close()
loaded = [name for name in sys.modules if name.split(".")[0] == "openvino_telemetry"]
assert not loaded, loaded
from openvino.tools.ovc import telemetry_utils
assert telemetry_utils.tm.__name__.endswith("stub"), telemetry_utils.tm
"""


def test_its_telemetry_is_never_loaded_and_leaves_no_id(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "intel").exists()


AT_ONCE = """
import faulthandler, sys, threading
faulthandler.dump_traceback_later(30, exit=True)
from edgeapl.engines.openvino import ov
WORKERS = 8
start = threading.Barrier(WORKERS)
def first_run():
    start.wait()
    ov.Type.u8.to_dtype()  # what a run asks of the binding before anything else
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=first_run) for _ in range(WORKERS)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_the_first_runs_may_come_at_the_same_time() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_it_answers_like_onnxruntime() -> None:
    cells = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    here = open_engine("openvino", "cells", cell_network()).run({"cells": cells})
    there = open_engine("onnxruntime", "cells", cell_network()).run({"cells": cells})
    for name, value in there.items():
        np.testing.assert_allclose(
            here[name].astype(np.float32), value.astype(np.float32), atol=1e-5
        )


def test_the_precision_is_fp32_unless_it_is_chosen_and_the_runtime_says_it() -> None:
    plain = OpenVinoEngine("cells", cell_network())
    assert plain.runtime.endswith("CPU f32")
    assert plain.used("INFERENCE_PRECISION_HINT") == "f32"
    assert plain.used("DYNAMIC_QUANTIZATION_GROUP_SIZE") == "0"
    with pytest.raises(EngineError, match="unknown precision"):
        OpenVinoEngine("cells", cell_network(), precision="int8")


@pytest.mark.parametrize("threads", [1, 2])
def test_the_threads_are_those_asked_for(threads: int) -> None:
    engine = OpenVinoEngine("cells", cell_network(), threads=threads)
    assert engine.used("INFERENCE_NUM_THREADS") == str(threads)


@pytest.mark.parametrize(("workers", "threads"), [(1, 1), (2, 1)])
def test_every_worker_has_a_stream(workers: int, threads: int) -> None:
    engine = OpenVinoEngine("cells", cell_network(), threads=threads, workers=workers)
    assert engine.used("NUM_STREAMS") == str(workers)
    assert engine.used("INFERENCE_NUM_THREADS") == str(workers * threads)


class Meeting:
    """Stands for a request: its run lasts until as many are under way as are wanted."""

    def __init__(self, request: Any, barrier: threading.Barrier) -> None:
        self._request = request
        self._barrier = barrier

    def infer(self, *given: Any, **more: Any) -> Any:
        self._barrier.wait(20)
        return self._request.infer(*given, **more)


def test_as_many_runs_are_under_way_as_there_are_workers_and_do_not_mix_up() -> None:
    engine = OpenVinoEngine("cells", cell_network(), workers=2)
    barrier = threading.Barrier(2)
    engine._free = [Meeting(request, barrier) for request in engine._free]
    cells = np.random.default_rng(0).integers(0, 256, (8, 1, SIZE, SIZE, 3), dtype=np.uint8)
    plain = OpenVinoEngine("cells", cell_network())
    wanted = [plain.run({"cells": each}) for each in cells]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda each: engine.run({"cells": each}), cells))
    for have, want in zip(found, wanted, strict=True):
        for name, value in want.items():
            np.testing.assert_array_equal(have[name], value)


@pytest.mark.parametrize("kind", ["read-only", "every second row"])
def test_inputs_that_are_read_in_place_may_be_of_any_kind(kind: str) -> None:
    engine = OpenVinoEngine("cells", cell_network())
    cells = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
    wanted = engine.run({"cells": cells[::2].copy()})
    given = cells[::2]
    if kind == "read-only":
        given = cells[::2].copy()
        given.setflags(write=False)
    found = engine.run({"cells": given})
    before = {name: value.copy() for name, value in found.items()}
    engine.run({"cells": cells[1::2].copy()})  # writes to the memory of the answers before
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)
        np.testing.assert_array_equal(before[name], value)


@pytest.mark.parametrize(
    ("target", "workers", "waiting"),
    [("openvino", 2, 1), ("openvino", 1, 0), ("onnxruntime", 2, 0)],
)
def test_a_stream_has_its_next_run_at_hand_where_runs_wait_inside(
    tmp_path: Path, target: str, workers: int, waiting: int
) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    with open_model(ModelRequest(bundle.folder, runtime=target, workers=workers)) as model:
        assert (model.workers, model.waiting) == (workers, waiting)
        engine = model.engines["cells"]
        if isinstance(engine, OpenVinoEngine):
            assert len(engine._free) == workers + waiting


def test_a_closed_network_says_so_also_to_who_waits_for_it() -> None:
    engine = OpenVinoEngine("cells", cell_network())
    cells = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    request = engine._request()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(engine.run, {"cells": cells})
        engine.close()
        with pytest.raises(EngineError, match="was closed"):
            waiting.result(20)
    engine._release(request)
    with pytest.raises(EngineError, match="was closed"):
        engine.run({"cells": cells})


def test_a_run_that_fails_gives_its_place_back() -> None:
    engine = OpenVinoEngine("cells", cell_network())

    class Broken:
        def infer(self, *given: Any, **more: Any) -> Any:
            raise RuntimeError("no more")

    engine._free = [Broken()]
    cells = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    for _ in range(2):
        with pytest.raises(EngineError, match="no more"):
            engine.run({"cells": cells})


@pytest.mark.parametrize(
    ("threads", "workers", "allowed", "there", "kept"),
    [
        (1, 2, (0, 1), 2, True),
        (1, 4, (0, 1, 2, 3), 4, True),
        (2, 1, (0, 1), 2, False),
        (1, 1, (0,), 1, False),
        (1, 2, (0, 1, 2, 3), 4, False),
        (1, 2, (0, 1), 4, False),
    ],
)
def test_openvino_keeps_its_threads_to_cores_only_when_it_has_all_of_them(
    threads: int,
    workers: int,
    allowed: tuple[int, ...],
    there: int,
    kept: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cores, "cores_allowed", lambda: allowed)
    monkeypatch.setattr(os, "cpu_count", lambda: there)
    assert _has_all_cores(threads, workers) is kept


@pytest.mark.parametrize(("asked", "workers"), [(True, 1), (False, 2), (True, 2)])
def test_openvino_says_whether_its_threads_keep_to_cores(asked: bool, workers: int) -> None:
    engine = OpenVinoEngine("cells", cell_network(), workers=workers, pin_cores=asked)
    kept = asked and _has_all_cores(1, workers)
    assert engine.used("ENABLE_CPU_PINNING") == str(kept)
    engine.close()
