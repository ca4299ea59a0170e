"""A plan on a GPU: the order of work, whose memory it is, and what happens when it fails."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgeapl.engines.trt.engine import TrtEngine, open_plan
from edgeapl.engines.trt.memory import GpuMemory
from edgeapl.engines.trt.plan import PlanRecord, StoredPlan, check_plan, record_of
from edgeapl.errors import EngineError
from edgeapl.testing import FakeDriver
from tests.fake_tensorrt import FakeTensorRt
from tests.small_bundle import SIZE, cell_network, head_network, model

PLAN = cell_network()


def cells(count: int, seed: int = 0) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(seed)
    return {"cells": rng.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)}


def opened(**fail_on: int) -> tuple[TrtEngine, FakeTensorRt]:
    fake = FakeTensorRt(FakeDriver(fail_on=fail_on))
    return fake.open(PLAN), fake


def test_a_run_copies_executes_copies_back_and_waits() -> None:
    engine, fake = opened()
    fake.driver.calls.clear()
    engine.run(cells(3))
    work = [
        call for call in fake.driver.calls if call not in ("Stream", "Event", "memset_d8_async")
    ]
    assert work == [
        "push",
        "memcpy_htod_async",
        "wait_for_event",
        "execute_async_v3",
        "event_record",
        *["memcpy_dtoh_async"] * 4,
        "event_record",
        "event_synchronize",
        "pop",
    ]


def test_an_answer_that_was_never_written_is_nan_and_not_the_one_before() -> None:
    engine, fake = opened()
    assert np.isfinite(engine.run(cells(3))["features"]).all()
    fake.silent = True
    for value in engine.run(cells(3)).values():
        assert np.isnan(value.astype(np.float64)).all()


@pytest.mark.parametrize("call", ["set_input_shape", "execute_async_v3"])
def test_a_refused_call_ends_in_an_error_with_the_librarys_reason(call: str) -> None:
    engine, fake = opened()
    engine.run(cells(2))
    fake.refuses = call
    with pytest.raises(EngineError, match=f"cells: {call}: refused"):
        engine.run(cells(2))
    fake.refuses = ""
    with pytest.raises(EngineError, match="failed before"):
        engine.run(cells(2))


def test_an_error_that_the_library_only_logs_is_an_error() -> None:
    engine, fake = opened()
    fake.complains = True
    with pytest.raises(EngineError, match="kernel failed"):
        engine.run(cells(2))


@pytest.mark.parametrize(
    "call",
    ["memcpy_htod_async", "memset_d8_async", "execute_async_v3", "memcpy_dtoh_async", "Stream"],
)
def test_each_call_that_fails_in_a_run_is_an_error_and_all_is_freed(call: str) -> None:
    engine, fake = opened(**{call: 0})
    with pytest.raises(EngineError, match=f"failed while running: cells: {call} failed"):
        engine.run(cells(2))
    with pytest.raises(EngineError, match="failed before: cells: open it again"):
        engine.run(cells(2))
    engine.close()
    assert not any(fake.driver.live.values())
    assert not fake.driver.contexts


@pytest.mark.parametrize("call", ["execute_async_v3", "memset_d8_async", "memcpy_dtoh_async"])
def test_a_context_goes_before_its_memory_though_the_error_is_still_held(call: str) -> None:
    engine, fake = opened(**{call: 0})
    with pytest.raises(EngineError) as held:
        engine.run(cells(2))
    engine.close()
    assert not fake.alive
    assert held.value.__cause__ is not None


def test_a_failed_wait_gives_no_answer_and_all_is_freed() -> None:
    engine, fake = opened(event_synchronize=1)
    first = engine.run(cells(2))
    with pytest.raises(EngineError, match="event_synchronize failed"):
        engine.run(cells(2, seed=1))
    np.testing.assert_array_equal(engine_answer(cells(2))["features"], first["features"])
    engine.close()
    assert not any(fake.driver.live.values())


def engine_answer(inputs: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    return opened()[0].run(inputs)


@pytest.mark.parametrize(
    "call", ["pagelocked_empty", "mem_alloc", "retain_primary_context", "push"]
)
def test_a_plan_that_can_not_be_loaded_leaves_nothing_behind(call: str) -> None:
    fake = FakeTensorRt(FakeDriver(fail_on={call: 2 if "alloc" in call or "page" in call else 0}))
    with pytest.raises(EngineError, match="could not be loaded"):
        fake.open(PLAN)
    assert not any(fake.driver.live.values())
    assert not fake.driver.contexts


@pytest.mark.parametrize("call", ["create_execution_context", "set_input_shape"])
def test_a_library_that_refuses_while_loading_leaves_nothing_behind(call: str) -> None:
    fake = FakeTensorRt(FakeDriver())
    fake.refuses = call
    with pytest.raises(EngineError, match="cells"):
        fake.open(PLAN)
    assert not any(fake.driver.live.values())
    assert not fake.driver.contexts


@pytest.mark.parametrize("call", ["free_device", "free_host", "event_synchronize", "detach"])
def test_closing_goes_on_after_an_error_and_tells_it(call: str) -> None:
    engine, fake = opened(**{call: 0})
    if call == "event_synchronize":
        fake.driver.fail_on = {call: 1}
    engine.run(cells(1))
    with pytest.raises(EngineError, match=f"could not be freed: cells: {call} failed"):
        engine.close()
    left = 0 if call == "event_synchronize" else 1
    assert sum(fake.driver.live.values()) == left
    engine.close()


@pytest.mark.parametrize("count", [8, 9, 17])
def test_a_batch_larger_than_the_plan_takes_is_run_in_parts(count: int) -> None:
    engine, fake = opened()
    together = engine.run(cells(count))
    parts = fake.driver.calls.count("execute_async_v3")
    assert parts == -(-count // 8)
    batch = cells(count)["cells"]
    for row in (0, count - 1):
        alone = engine.run({"cells": batch[row : row + 1]})
        np.testing.assert_allclose(together["features"][row], alone["features"][0], atol=1e-6)


def test_a_network_that_pools_its_rows_is_never_run_in_parts() -> None:
    fake = FakeTensorRt(FakeDriver())
    engine = fake.open(pooling_network(), "pool")
    assert engine.run({"cells": np.ones((8, 3), np.float32)})["mean"].shape == (1, 3)
    with pytest.raises(EngineError, match="cannot be run in parts"):
        engine.run({"cells": np.ones((9, 3), np.float32)})


def pooling_network() -> bytes:
    return model(
        [helper.make_node("ReduceMean", ["cells", "axes"], ["mean"], keepdims=1)],
        [helper.make_tensor_value_info("cells", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1, 3])],
        {"axes": np.array([0])},
    )


def test_bare_time_is_that_of_kernels_between_two_events() -> None:
    engine, fake = opened()
    fake.driver.log.clear()
    assert engine.bare_seconds(3, 4) == pytest.approx(0.00025)
    calls = [work.call for work in fake.driver.log]
    run = ["wait_for_event", "enqueue", "event_record"]
    assert calls == [*run, "event_record", *run * 4, "event_record", "event_synchronize"]
    assert engine.run(cells(2))["features"].shape == (2, 3)
    with pytest.raises(EngineError, match="refused"):
        engine.bare_seconds(9, 1)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.bare_seconds(1, 1)


def test_threads_take_turns_and_each_gets_its_own_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, fake = opened()
    # Two runs on one set of buffers meet here, unless they take turns.
    waiting = fake.driver.synchronize

    def slow(stream: int) -> None:
        time.sleep(0.001)
        waiting(stream)

    monkeypatch.setattr(fake.driver, "synchronize", slow)
    expected = [engine.run(cells(4, seed))["features"] for seed in range(4)]
    wrong: list[int] = []

    def ask(seed: int) -> None:
        answers = [engine.run(cells(4, seed))["features"] for _ in range(5)]
        wrong.extend(seed for answer in answers if not np.array_equal(answer, expected[seed]))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_no_context_stays_on_a_thread() -> None:
    engine, fake = opened()
    engine.run(cells(1))
    engine.close()
    assert not fake.driver.contexts
    # The last push is of the thread that gives the context back, and ends with it.
    ended = fake.driver.calls.count("pop") + fake.driver.calls.count("detach")
    assert fake.driver.calls.count("push") == ended
    assert fake.driver.calls[-2:] == ["push", "detach"]


def test_memory_without_a_pushed_context_is_refused() -> None:
    with pytest.raises(FakeDriver.Error, match="context"):
        GpuMemory(FakeDriver()).buffer(3, "float32")


Change = Callable[[PlanRecord], PlanRecord]


def moved(**changes: str) -> Change:
    return lambda r: dataclasses.replace(r, place=dataclasses.replace(r.place, **changes))


REFUSALS: dict[str, tuple[Change, bytes, str]] = {
    "other machine": (moved(machine="that one"), PLAN, "this machine built"),
    "nobody's": (moved(machine=""), PLAN, "this machine built"),
    "other library": (moved(library="tensorrt-rtx"), PLAN, "another library"),
    "other version": (moved(version="10.16.0"), PLAN, "another version"),
    "other GPU": (moved(device="Orin"), PLAN, "another GPU"),
    "other capability": (moved(compute_capability="9.0"), PLAN, "compute capability"),
    "cut off": (lambda r: r, PLAN[:-1], "size"),
    "longer": (lambda r: r, PLAN + b"\0", "size"),
    "one bit": (lambda r: r, bytes([*PLAN[:-1], PLAN[-1] ^ 1]), "changed since"),
}


@pytest.mark.parametrize(("change", "plan", "message"), REFUSALS.values(), ids=list(REFUSALS))
def test_a_plan_that_does_not_belong_here_is_never_deserialised(
    change: Change, plan: bytes, message: str
) -> None:
    fake = FakeTensorRt(FakeDriver())
    record = change(record_of(PLAN, fake.place))
    stored = StoredPlan("tensorrt", "cells", plan, record, "this machine")
    with pytest.raises(EngineError, match=message) as caught:
        open_plan(stored, driver=fake.driver, library=fake.library)
    assert fake.deserialised == 0
    assert "edgeapl build-engine" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_unknown_machines_are_not_the_same_one() -> None:
    nowhere = dataclasses.replace(FakeTensorRt(FakeDriver()).place, machine="")
    with pytest.raises(EngineError, match="this machine built"):
        check_plan("cells", PLAN, record_of(PLAN, nowhere), nowhere)


def test_a_plan_that_belongs_here_is_accepted() -> None:
    place = FakeTensorRt(FakeDriver()).place
    check_plan("cells", PLAN, record_of(PLAN, place), place)


def test_a_plan_that_the_library_calls_invalid_is_refused_with_the_cause() -> None:
    fake = FakeTensorRt(FakeDriver())
    causes = {"VERSION_MISMATCH": 1, "OLD_CUDA_DRIVER": 4}
    fake.api.EngineValidity = SimpleNamespace(INVALID=2)
    fake.api.EngineInvalidityDiagnostics = SimpleNamespace(__members__=causes)
    runtime = fake.api.Runtime
    fake.api.Runtime = lambda logger: with_validity(runtime(logger))
    with pytest.raises(EngineError, match="does not fit this machine: cells: old cuda driver"):
        fake.open(PLAN)
    assert fake.deserialised == 0


def with_validity(runtime: object) -> object:
    runtime.get_engine_validity = lambda plan: (2, 4)  # type: ignore[attr-defined]
    return runtime


def test_a_head_without_a_free_batch_runs() -> None:
    engine = FakeTensorRt(FakeDriver()).open(head_network(), "head")
    assert engine.inputs["ratios"][0] == "float32"
    assert engine.run({"ratios": np.zeros((1, 3), np.float32)})["apl"].shape == (1,)
