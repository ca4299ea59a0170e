"""A deadline holds whatever a network does: run for ever, sit in one node, crash, hang."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.engines.hosted.host import EngineHost
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.process.restart import RestartBudget
from tests.slow_networks import ENDLESS, HUGE, chain_network, count, loop_network, steps, written
from tests.waiting import thread_states, wait_until

pytestmark = pytest.mark.slow

LATE_S = 0.5
"""The promise: no run ends later than this after its deadline."""

PATIENCE_S = 20.0
"""For what is only waited for; a busy machine may need some of it."""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[EngineHost]:
    files = written(tmp_path, loop=loop_network(), chain=chain_network())
    with EngineHost.open(files, workers=2, budget=RestartBudget(restarts=1000)) as made:
        yield made


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[EngineHost]:
    """One run at a time: the next starts when the one before is really over."""
    with EngineHost.open(written(tmp_path, loop=loop_network(), chain=chain_network())) as made:
        yield made


def in_s(seconds: float) -> int:
    return time.monotonic_ns() + int(seconds * 1e9)


def answer(host: EngineHost) -> float:
    """A quick run; gives 3."""
    return float(host.engines["loop"].run(count(3))["y"][0])


SLOW = {
    "endless": ("loop", count(ENDLESS)),
    "one huge node": ("chain", steps(HUGE)),
    "crash": ("loop", count(ENDLESS)),
}
BUDGETS_S = {"endless": 0.1, "one huge node": 0.2, "crash": PATIENCE_S, "quick": PATIENCE_S}


@pytest.mark.parametrize("kind", ["endless", "one huge node"])
def test_a_run_ends_at_the_deadline_and_the_next_answer_is_right(
    alone: EngineHost, kind: str
) -> None:
    network, inputs = SLOW[kind]
    before = alone.health.pid
    at_ns = in_s(0.3)
    alone.deadline(at_ns)
    with pytest.raises(DeadlineError, match=f"no answer by the deadline: {network}"):
        alone.engines[network].run(inputs)
    late_s = (time.monotonic_ns() - at_ns) / 1e9
    assert 0 <= late_s < LATE_S
    with pytest.raises(DeadlineError):
        answer(alone)
    alone.deadline(None)
    assert answer(alone) == 3
    assert float(alone.engines["chain"].run(steps(1))["y"].max()) == pytest.approx(0.01, rel=1e-3)
    # Between the nodes of a network a cancel suffices; from within one it does not.
    assert alone.health.ended_late == (kind == "one huge node")
    assert (alone.health.pid == before) == (kind == "endless")
    assert alone.health.deaths == 0


def test_a_run_may_have_its_own_limit(host: EngineHost) -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineError, match=r"took too long: loop: more than 0\.2 s"):
        host.engines["loop"].run(count(ENDLESS), most_s=0.2)
    assert 0.2 <= time.monotonic() - started < 0.2 + LATE_S
    assert answer(host) == 3


def test_the_host_limits_every_run(tmp_path: Path) -> None:
    with (
        EngineHost.open(written(tmp_path, loop=loop_network()), most_s=0.2) as host,
        pytest.raises(DeadlineError, match=r"more than 0\.2 s"),
    ):
        host.engines["loop"].run(count(ENDLESS))


def test_a_deadline_set_or_moved_reaches_runs_under_way(host: EngineHost) -> None:
    with ThreadPoolExecutor(1) as pool:
        host.deadline(in_s(0.3))
        run = pool.submit(host.engines["loop"].run, count(ENDLESS))
        host.deadline(in_s(60))
        time.sleep(0.4)
        assert not run.done()
        host.deadline(at_ns := time.monotonic_ns())
        with pytest.raises(DeadlineError):
            run.result(PATIENCE_S)
        assert (time.monotonic_ns() - at_ns) / 1e9 < LATE_S


def test_ending_one_run_costs_no_other_its_answer(host: EngineHost) -> None:
    times = 2_000_000  # more than a second
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(host.engines["loop"].run, count(times))
        with pytest.raises(DeadlineError):
            host.engines["chain"].run(steps(HUGE), most_s=0.1)
        outputs: dict[str, NDArray[np.generic]] = other.result(PATIENCE_S)
    assert host.health.ended_late == 1
    assert float(outputs["y"][0]) == times


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_is_one_error_and_the_next_answer_is_right(
    host: EngineHost, number: signal.Signals
) -> None:
    host.deadline(in_s(PATIENCE_S))
    with crashing(host, number), pytest.raises(EngineError) as caught:
        host.engines["loop"].run(count(ENDLESS))
    assert str(caught.value) == f"network process died: loop: {number.name}; it is started again"
    assert answer(host) == 3
    assert host.health.deaths == 1


def test_a_process_that_hangs_as_a_whole_is_replaced(host: EngineHost) -> None:
    before = host.health.pid
    end_child(host, signal.SIGSTOP)
    # Until its threads have heard of it they may still answer.
    wait_until(lambda: all(state == "T" for state in thread_states(before)), PATIENCE_S)
    at_ns = in_s(0.1)
    host.deadline(at_ns)
    with pytest.raises(DeadlineError):
        answer(host)
    assert (time.monotonic_ns() - at_ns) / 1e9 < LATE_S
    host.deadline(None)
    assert answer(host) == 3
    assert host.health.pid != before


def test_a_deadline_holds_while_the_process_is_started_again(host: EngineHost) -> None:
    for _ in range(5):
        end_child(host, signal.SIGKILL)
        wait_until(lambda: not host.health.ready, PATIENCE_S)
        at_ns = in_s(0.05)
        host.deadline(at_ns)
        with pytest.raises(DeadlineError):
            answer(host)
        assert (time.monotonic_ns() - at_ns) / 1e9 < LATE_S
        host.deadline(None)
        assert answer(host) == 3


def test_a_process_that_keeps_dying_stays_down_and_says_so(tmp_path: Path) -> None:
    with EngineHost.open(written(tmp_path, loop=loop_network())) as host:
        for death in range(1, 6):
            end_child(host, signal.SIGABRT)
            wait_until(lambda death=death: host.health.deaths == death, PATIENCE_S)  # type: ignore[misc]
            if death < 5:
                assert answer(host) == 3
        with pytest.raises(EngineError) as caught:
            answer(host)
        assert str(caught.value).startswith("networks stay down: loop: their process died 5 times")
        assert "SIGABRT" in str(caught.value)
        assert host.health.text == str(caught.value)
        assert not host.health.ready


def test_a_network_changed_meanwhile_is_not_started_again(tmp_path: Path) -> None:
    files = written(tmp_path, loop=loop_network())
    with EngineHost.open(files) as host:
        files[0].path.write_bytes(loop_network() + b"\0")
        end_child(host, signal.SIGKILL)
        wait_until(lambda: host.health.deaths == 5, PATIENCE_S)
        with pytest.raises(EngineError, match="network was changed since it was checked"):
            answer(host)


def test_callers_that_give_up_in_line_leave_the_line(alone: EngineHost) -> None:
    with ThreadPoolExecutor(4) as pool:
        alone.deadline(in_s(0.3))
        runs = [pool.submit(alone.engines["loop"].run, count(ENDLESS)) for _ in range(4)]
        for run in runs:
            with pytest.raises(DeadlineError):
                run.result(PATIENCE_S)
        alone.deadline(None)
        assert answer(alone) == 3


@pytest.mark.slow
def test_a_hundred_runs_end_in_time_or_at_their_deadline(host: EngineHost) -> None:
    """Every run that is asked too much ends at its deadline, every other one with its answer."""
    kinds = ["endless", "quick", "crash", "quick", "endless", "quick", "one huge node", "quick"]
    outcomes: Counter[tuple[str, str]] = Counter()
    for number in range(100):
        kind = kinds[number % len(kinds)]
        at_ns = in_s(BUDGETS_S[kind])
        host.deadline(at_ns)
        network, inputs = SLOW.get(kind, ("loop", count(number)))
        try:
            with crashing(host, signal.SIGKILL) if kind == "crash" else nullcontext():
                outputs = host.engines[network].run(inputs)
        except DeadlineError:
            outcomes[kind, "deadline"] += 1
        except EngineError:
            outcomes[kind, "crash"] += 1
        else:
            outcomes[kind, "answer"] += float(outputs["y"][0]) == number
        assert (time.monotonic_ns() - at_ns) / 1e9 < LATE_S
    assert sum(outcomes.values()) == 100
    assert outcomes["quick", "answer"] == 50
    assert outcomes["endless", "deadline"] == 25
    assert outcomes["one huge node", "deadline"] == 12
    assert outcomes["crash", "crash"] == 13
    assert host.health.ended_late


@contextmanager
def crashing(host: EngineHost, number: signal.Signals) -> Iterator[None]:
    """End the child in the middle of the run within."""

    def end() -> None:
        wait_until(lambda: host.health.running > 0, PATIENCE_S)
        end_child(host, number)

    # Of a run before that was given up nothing may be left, else that one would be met.
    wait_until(lambda: host.health.running == 0, PATIENCE_S)
    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def end_child(host: EngineHost, number: signal.Signals) -> None:
    pid = host.health.pid
    assert pid is not None
    os.kill(pid, number)
