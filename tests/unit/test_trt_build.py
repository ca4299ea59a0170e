"""Real plans from the real TensorRT-RTX, which needs no GPU to build."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

import edgeapl
from edgeapl.engines.trt.build import BuildOptions, Profile, _configure, build_plan, make_plan
from edgeapl.engines.trt.library import Library, find_library
from edgeapl.errors import EngineError
from tests.small_bundle import cell_network, head_network, model

pytest.importorskip("tensorrt_rtx")
pytest.importorskip("onnx")

EMBEDDED = Path(edgeapl.__file__).parent / "models" / "apl-demo"


@pytest.fixture(scope="module")
def library() -> Library:
    return find_library("tensorrt-rtx")


def one_layer(kind: str, shape: list[object], **attributes: object) -> bytes:
    return model(
        [helper.make_node(kind, ["x"], ["y"], name="the_layer", **attributes)],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [2, "k"])],
        {},
    )


@pytest.mark.parametrize("file", ["cells.onnx", "head.onnx"])
def test_the_embedded_bundle_builds(library: Library, file: str) -> None:
    plan = build_plan((EMBEDDED / file).read_bytes(), name=file, library=library)
    assert plan[:4] == b"vtrt"
    assert len(plan) > 10_000


def test_a_plan_can_be_built_for_a_gpu_that_is_not_here(library: Library) -> None:
    plan = build_plan(
        head_network(), name="head", library=library, options=BuildOptions(capabilities=("8.9",))
    )
    assert plan[:4] == b"vtrt"


@pytest.mark.parametrize(
    ("capability", "message"),
    [("6.1", "not supported: capability 6.1"), ("7.5", "Turing")],
)
def test_a_gpu_that_can_not_run_it_is_refused(
    library: Library, capability: str, message: str
) -> None:
    head = (EMBEDDED / "head.onnx").read_bytes()
    with pytest.raises(EngineError, match=message):
        build_plan(
            head, name="head", library=library, options=BuildOptions(capabilities=(capability,))
        )


@pytest.mark.parametrize("data", [b"", b"not a network", cell_network()[:-40]])
def test_bytes_that_are_no_network_are_refused_in_one_line(library: Library, data: bytes) -> None:
    with pytest.raises(EngineError, match="cells: no ONNX file") as caught:
        build_plan(data, name="cells", library=library)
    assert "\n" not in str(caught.value)


def test_a_layer_that_the_library_can_not_do_is_named(library: Library) -> None:
    with pytest.raises(EngineError, match=r"the_layer \(NonZero\)|the_layer") as caught:
        build_plan(one_layer("NonZero", ["n", 3]), name="nonzero", library=library)
    assert "\n" not in str(caught.value)


def test_a_free_dimension_that_is_not_the_batch_is_refused(library: Library) -> None:
    free = model(
        [helper.make_node("Relu", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, "h"])],
        {},
    )
    with pytest.raises(EngineError, match=r"free dimension: net\.x"):
        build_plan(free, name="net", library=library)


def test_progress_names_stages_and_counts_steps(library: Library) -> None:
    told: list[tuple[str, int, int]] = []
    build_plan(
        cell_network(),
        name="cells",
        library=library,
        on_progress=lambda *step: told.append(step),
    )
    stages = {stage for stage, _, _ in told}
    assert "Building engine" in stages
    assert len(stages) > 2
    assert all(0 <= done <= steps for _, done, steps in told)


@pytest.mark.parametrize("error", [EngineError("disk is full"), KeyboardInterrupt()])
def test_what_progress_raises_ends_the_build(library: Library, error: BaseException) -> None:
    calls: list[str] = []

    def refuse(stage: str, done: int, steps: int) -> None:
        calls.append(stage)
        raise error

    with pytest.raises(type(error)):
        build_plan(cell_network(), name="cells", library=library, on_progress=refuse)
    assert len(calls) == 1


INTERRUPTED = """
import signal, sys, time
from edgeapl.engines.trt.build import build_plan
from edgeapl.engines.trt.library import find_library
from tests.small_bundle import cell_network

def slow(stage, done, steps):
    print("step", flush=True)
    time.sleep(0.2)

# A program that a shell starts in the background is told to ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    build_plan(cell_network(), name="c", library=find_library("tensorrt-rtx"), on_progress=slow)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


def test_ctrl_c_ends_a_build_at_its_next_step() -> None:
    child = subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "step\n"
    os.kill(child.pid, signal.SIGINT)
    rest, _ = child.communicate(timeout=60)
    assert child.returncode == 130
    assert rest.splitlines()[-1] == "interrupted"
    assert rest.count("step") < 20  # of more than 60


def test_too_little_scratch_memory_says_how_to_mend_it(library: Library) -> None:
    cells = (EMBEDDED / "cells.onnx").read_bytes()
    with pytest.raises(EngineError, match=r"0 MiB .* batch of 32 .* --max-batch, .* --workspace"):
        build_plan(cells, name="cells", library=library, options=BuildOptions(workspace=1))


def test_batches_out_of_order_are_refused() -> None:
    for sizes in [(0, 1, 2), (2, 1, 4), (1, 8, 4)]:
        with pytest.raises(EngineError, match="out of order"):
            Profile(*sizes)


def test_two_builds_at_once_do_not_mix(library: Library) -> None:
    plans: dict[str, bytes] = {}
    networks = {"cells": cell_network(), "head": head_network()}

    def build(name: str) -> None:
        plans[name] = build_plan(networks[name], name=name, library=library)

    threads = [threading.Thread(target=build, args=(name,)) for name in networks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(plans) == set(networks)


class Configured:
    """A real config of the library, from which what was set is read."""

    def __init__(self, library: Library, options: BuildOptions) -> None:
        self.config = library.api.Builder(library.logger).create_builder_config()
        _configure(library.api, self.config, options)

    def flag(self, api: Any) -> bool:
        return bool(self.config.get_flag(api.BuilderFlag.TF32))


@pytest.mark.parametrize("tf32", [False, True])
def test_fp32_is_not_multiplied_in_tf32_unless_that_was_asked_for(
    library: Library, tf32: bool
) -> None:
    fresh = library.api.Builder(library.logger).create_builder_config()
    assert fresh.get_flag(library.api.BuilderFlag.TF32)  # the library's own choice
    assert Configured(library, BuildOptions(tf32=tf32)).flag(library.api) is tf32


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (BuildOptions(), []),
        (BuildOptions(device=0), ["CURRENT"]),
        (BuildOptions(capabilities=("8.0", "12.0"), device=0), ["SM80", "SM120"]),
    ],
)
def test_a_plan_is_for_the_gpu_that_is_here_or_for_those_that_are_named(
    library: Library, options: BuildOptions, wanted: list[str]
) -> None:
    config = Configured(library, options).config
    chosen = [config.get_compute_capability(n).name for n in range(config.num_compute_capabilities)]
    assert chosen == wanted


def test_effort_and_scratch_memory_are_as_asked_for(library: Library) -> None:
    config = Configured(library, BuildOptions(level=5, workspace=3 << 20)).config
    assert config.builder_optimization_level == 5
    assert config.get_memory_pool_limit(library.api.MemoryPoolType.WORKSPACE) == 3 << 20


def test_tensorrt_rtx_which_measures_nothing_is_given_no_timing_cache(library: Library) -> None:
    options = BuildOptions(timing_cache=b"")
    made = make_plan(head_network(), name="head", library=library, options=options)
    assert made.timing_cache == b""
