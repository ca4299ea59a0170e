"""Groups of networks that share a GPU share one process, and nothing else."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeapl.bundle.digest import sha256
from edgeapl.cores import cores_allowed
from edgeapl.engines.hosted.host import EngineHost
from edgeapl.engines.hosted.networks import GroupFiles, NetworkFile
from edgeapl.engines.ort import OrtEngine
from edgeapl.engines.registry import Origin
from edgeapl.engines.trt.library import Messages
from edgeapl.engines.trt.plan import record_of
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.model import ModelRequest
from edgeapl.pipeline.options import RESERVE_S
from edgeapl.station import hosted_model
from edgeapl.station.hosted_model import (
    HEAD_S,
    MOST_BACK_S,
    HostedModel,
    NetworkGroup,
    open_hosted,
)
from edgeapl.testing import FakeDriver
from tests import gpu_child
from tests.fake_tensorrt import FakeTensorRt
from tests.gpu_chain import NAMES, NETWORKS, field, plainly, same
from tests.gpu_child import Trouble
from tests.small_bundle import SIZE, cell_network, head_network
from tests.unit.test_hosted_chain import (
    ALL,
    Hosted,
    files,
    flags,
    open_station,
    station,
)
from tests.unit.test_model_on_device import Station
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

__all__ = ["flags", "station"]

PATIENCE_S = 30.0
FINDER = cell_network(weights=np.array([[2, -7, 3], [4, 5, -1], [0, 1, 9]], np.float32))
PLANS = {**NETWORKS, "find": FINDER, "judge": head_network()}
GROUPS = {"segment": "find", "cells": "cells", "head": "judge"}
ASKED: dict[str, dict[str, Any]] = {
    "find": {"cells": np.full((2, SIZE, SIZE, 3), 7, np.uint8)},
    "judge": {"ratios": np.array([[0.2, 0.3, 0.5]], np.float32)},
    "cells": {"cells": np.full((3, SIZE, SIZE, 3), 5, np.uint8)},
}


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Three hosts in one process, and callers of their own for each network."""

    segment: EngineHost
    cells: EngineHost
    head: EngineHost
    flags: Path
    pool: ThreadPoolExecutor

    def ask(self, network: str, most_s: float | None = None) -> Future[Any]:
        """Run a network in the background."""
        host = {"find": self.segment, "cells": self.cells, "judge": self.head}[network]
        return self.pool.submit(host.engines[network].run, ASKED[network], most_s)

    def until_stuck(self, *groups: str) -> None:
        """Wait until the GPU hangs in a run of each group."""
        met = Trouble.HANGS.met
        wait_until(lambda: all(met(self.flags, group) for group in groups), PATIENCE_S)

    def pid(self) -> int:
        pids = {host.health.pid for host in (self.segment, self.cells, self.head)}
        (pid,) = pids
        assert pid is not None
        return pid


def right(network: str, answers: dict[str, Any]) -> bool:
    wanted = OrtEngine(network, PLANS[network]).run(ASKED[network])
    return all(np.array_equal(answers[key], values) for key, values in wanted.items())


def plan(folder: Path, name: str) -> tuple[NetworkFile, ...]:
    """Write one more plan; what the fake takes for one is an ONNX file."""
    path = folder / "plans" / f"{name}.plan"
    path.write_bytes(PLANS[name])
    record = record_of(PLANS[name], FakeTensorRt(FakeDriver()).place)
    origin = Origin(record, "this machine")
    return (NetworkFile(name, "tensorrt", path, sha256(PLANS[name]), origin=origin),)


@pytest.fixture
def groups(tmp_path: Path, flags: Path) -> Iterator[Groups]:
    networks, chained = files(tmp_path / "plans")
    opened = EngineHost.open_together(
        [
            GroupFiles("segment", plan(tmp_path, "find")),
            GroupFiles("cells", networks, chained),
            GroupFiles("head", plan(tmp_path, "judge")),
        ]
    )
    with ThreadPoolExecutor(8) as pool:
        made = Groups(opened["segment"], opened["cells"], opened["head"], flags, pool)
        try:
            yield made
        finally:
            for file in flags.iterdir():
                file.unlink()
            for host in opened.values():
                host.close()


def processes() -> list[int]:
    """Those of networks that this process has started."""
    lists = [file.read_text().split() for file in Path("/proc/self/task").glob("*/children")]
    children = [int(child) for children in lists for child in children]
    name = gpu_child.__name__.encode()
    return [one for one in children if name in Path(f"/proc/{one}/cmdline").read_bytes()]


def test_all_groups_answer_beside_each_other_from_one_process(groups: Groups) -> None:
    hosted, one = Hosted(groups.cells, groups.flags), field(0)
    asked = [(name, groups.ask(name)) for name in ("find", "judge", "cells") * 5]
    place = hosted.put(one)
    for _ in range(3):
        hosted.chain.start([one.on(place)], NAMES)
        assert same(hosted.chain.finish(), plainly([(one, ALL)]))
    assert all(right(name, future.result(PATIENCE_S)) for name, future in asked)
    assert processes() == [groups.pid()]
    assert (groups.segment.chain, groups.head.chain) == (None, None)
    assert set(groups.head.engines) == {"judge"}


def test_a_group_that_hangs_keeps_no_other_waiting_and_only_it_meets_its_deadline(
    groups: Groups,
) -> None:
    Trouble.HANGS.begin(groups.flags, "cells")
    stuck = groups.ask("cells")
    groups.until_stuck("cells")
    pid = groups.pid()
    for name in ("judge", "find") * 3:
        assert right(name, groups.ask(name).result(PATIENCE_S))
    assert groups.pid() == pid
    Trouble.HANGS.begin(groups.flags, "segment")
    under_way = groups.ask("find")
    groups.until_stuck("segment")
    Trouble.HANGS.end(groups.flags, "segment")
    groups.cells.deadline(time.monotonic_ns())
    with pytest.raises(DeadlineError, match="by the deadline: cells"):
        stuck.result(PATIENCE_S)
    assert right("find", under_way.result(PATIENCE_S))
    for name in ("judge", "find"):
        assert right(name, groups.ask(name).result(PATIENCE_S))
    with pytest.raises(DeadlineError):
        groups.ask("cells").result(PATIENCE_S)
    wait_until(lambda: groups.head.health.ended_late == 1, PATIENCE_S)
    Trouble.HANGS.end(groups.flags, "cells")
    groups.cells.deadline(None)
    assert right("cells", groups.ask("cells").result(PATIENCE_S))
    assert (groups.head.health.ended_late, groups.head.health.deaths) == (1, 0)


@pytest.mark.parametrize("broken", ["segment", "cells", "head"])
def test_a_gpu_that_fails_for_one_group_costs_the_others_no_answer(
    groups: Groups, broken: str
) -> None:
    network = GROUPS[broken]
    others = [name for name in ASKED if name != network]
    Trouble.HANGS.begin(groups.flags)
    asked = [(name, groups.ask(name)) for name in others]
    Trouble.FAILS_ONCE.begin(groups.flags, broken)
    failing = groups.ask(network)
    groups.until_stuck(*GROUPS)
    Trouble.HANGS.end(groups.flags)
    with pytest.raises(EngineError, match=f"while running: {network}: launch failed"):
        failing.result(PATIENCE_S)
    assert all(right(name, future.result(PATIENCE_S)) for name, future in asked)
    for name in ASKED:
        assert right(name, groups.ask(name).result(PATIENCE_S))
    assert processes() == [groups.pid()]
    assert groups.cells.health.deaths == 1


def test_a_run_that_cannot_wait_for_the_next_process_hears_of_the_fault(groups: Groups) -> None:
    Trouble.FAILS_ONCE.begin(groups.flags, "segment")
    Trouble.HANGS.begin(groups.flags, "MainThread")  # the next one hangs while it is opened
    with pytest.raises(EngineError, match="launch failed"):
        groups.ask("find").result(PATIENCE_S)
    said = r"took too long: judge: more than 0.3 s; its process is being started again \(launch f"
    with pytest.raises(DeadlineError, match=said):
        groups.ask("judge", 0.3).result(PATIENCE_S)
    Trouble.HANGS.end(groups.flags, "MainThread")
    assert right("judge", groups.ask("judge").result(PATIENCE_S))


def test_a_process_that_is_killed_costs_what_was_under_way_and_nothing_hangs(
    groups: Groups,
) -> None:
    Trouble.HANGS.begin(groups.flags)
    asked = [groups.ask(name) for name in ASKED]
    groups.until_stuck(*GROUPS)
    os.kill(groups.pid(), signal.SIGKILL)
    Trouble.HANGS.end(groups.flags)
    for future in asked:
        with pytest.raises(EngineError, match=r"process died: .*SIGKILL.* started again"):
            future.result(PATIENCE_S)
    for name in ASKED:
        assert right(name, groups.ask(name).result(PATIENCE_S))
    assert groups.head.health.deaths == 1


def test_at_the_end_the_head_still_answers_when_other_runs_are_given_up(groups: Groups) -> None:
    Trouble.HANGS.begin(groups.flags, "cells")
    stuck = groups.ask("cells")
    groups.until_stuck("cells")
    pid, now = groups.pid(), time.monotonic_ns()
    groups.segment.finish(now)
    groups.cells.finish(now)
    groups.head.finish(now + int(2e9))
    with pytest.raises(DeadlineError):
        stuck.result(PATIENCE_S)
    time.sleep(0.5)  # longer than a run that was given up may take at other times
    assert groups.pid() == pid
    assert right("judge", groups.ask("judge").result(PATIENCE_S))
    wait_until(lambda: groups.head.health.pid is None, PATIENCE_S)
    with pytest.raises(DeadlineError):
        groups.ask("judge").result(PATIENCE_S)
    time.sleep(0.3)
    assert processes() == []


def cores_of(pid: int | None) -> set[str]:
    """The cores that each thread of a process for networks may use."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        status = (task / "status").read_text().splitlines()
        found |= {line for line in status if line.startswith("Cpus_allowed_list")}
    return found


@pytest.mark.skipif(len(cores_allowed()) < 2, reason="needs two cores")
def test_threads_that_wait_for_a_gpu_keep_to_no_core(tmp_path: Path, flags: Path) -> None:
    """There are as many as cores, which on a processor would have one each."""
    allowed = os.sched_getaffinity(0)
    (tmp_path / "plans").mkdir()
    on_gpu = [GroupFiles(name, plan(tmp_path, name)) for name in ("find", "judge")]
    two = [one for group in on_gpu for one in group.networks]
    plain = [replace(one, target="onnxruntime", origin=None) for one in two]
    os.sched_setaffinity(0, set(sorted(allowed)[:2]))
    try:
        hosts = EngineHost.open_together(on_gpu)
        for name, host in hosts.items():
            host.engines[name].run(ASKED[name])
        assert len(cores_of(hosts["find"].health.pid)) == 1
        for host in hosts.values():
            host.close()
        with EngineHost.open(plain, workers=2) as alone:
            wait_until(lambda: len(cores_of(alone.health.pid)) > 1, PATIENCE_S)
    finally:
        os.sched_setaffinity(0, allowed)


def test_the_process_ends_with_its_last_group(groups: Groups) -> None:
    groups.cells.close()
    groups.segment.close()
    groups.segment.close()
    assert right("judge", groups.ask("judge").result(PATIENCE_S))
    groups.head.engines["judge"].close()
    assert processes() == []


def test_a_station_on_a_gpu_has_one_process_and_on_a_processor_one_for_each_group(
    station: Station,
) -> None:
    with open_station(station) as hosted:
        assert set(hosted.hosts) == {NetworkGroup.CELLS, NetworkGroup.HEAD}
        assert len({host.health.pid for host in hosted.hosts.values()}) == len(processes()) == 1
        os.kill(processes()[0], signal.SIGKILL)
        wait_until(lambda: hosted.restarts == 1, PATIENCE_S)
    with open_hosted(ModelRequest(station.bundle)) as plain:
        assert len({host.health.pid for host in plain.hosts.values()}) == 2
        assert plain.back_s == 0
        assert plain.hosts[NetworkGroup.HEAD].most_s == HEAD_S
        assert plain.budget(45.0).cutoff_ns(0) == int((45.0 - RESERVE_S) * 1e9)


def test_a_process_that_stays_down_is_named_once_with_all_that_it_was_for(
    station: Station,
    flags: Path,
) -> None:
    with open_station(station) as hosted:
        service = hosted.hosts[NetworkGroup.CELLS].service
        service._supervisor._budget.restarts = 0
        Trouble.FAILS_ONCE.begin(flags, "head")
        with pytest.raises(EngineError, match="launch failed"):
            ask_head(hosted)
        wait_until(lambda: bool(hosted.trouble), PATIENCE_S)
        (trouble,) = hosted.trouble
    assert trouble.startswith("the networks to judge cells and judge the slide are down: ")
    assert "launch failed" in trouble


def ask_head(hosted: HostedModel) -> dict[str, Any]:
    head = hosted.model.head
    assert head is not None
    (name,) = head.inputs
    return dict(head.run({name: ASKED["judge"]["ratios"]}))


def test_the_head_waits_until_a_process_that_was_ended_for_cells_is_back(
    station: Station,
    flags: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    back_s = hosted_model._back_s
    found: list[float] = []

    def patient(hosts: Mapping[NetworkGroup, EngineHost]) -> float:
        found.append(back_s(hosts))
        return 20.0

    monkeypatch.setattr(hosted_model, "_back_s", patient)
    with open_station(station) as hosted, ThreadPoolExecutor(1) as pool:
        cells = hosted.hosts[NetworkGroup.CELLS]
        assert found == [min(MOST_BACK_S, cells.service.opened_in_s)]
        assert found > [0.0]
        assert hosted.budget(100.0).cutoff_ns(0) == int((100.0 - RESERVE_S - 20.0) * 1e9)
        assert hosted.budget(12.0).cutoff_ns(0) == int((12.0 - RESERVE_S) / 2 * 1e9)
        Trouble.HANGS.begin(flags, "cells")
        stuck = pool.submit(cells.engines["cells"].run, ASKED["cells"])
        wait_until(lambda: Trouble.HANGS.met(flags, "cells"), PATIENCE_S)
        Trouble.HANGS.begin(flags, "MainThread")
        cells.deadline(time.monotonic_ns())
        with pytest.raises(DeadlineError):
            stuck.result(PATIENCE_S)
        wait_until(lambda: cells.health.ended_late == 1, PATIENCE_S)
        answer = pool.submit(ask_head, hosted)
        time.sleep(HEAD_S * 1.2)
        Trouble.HANGS.end(flags, "MainThread")
        assert answer.result(PATIENCE_S)


def test_an_error_that_the_library_logs_is_taken_by_the_run_that_it_concerns() -> None:
    messages = Messages()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for pool in (one, other):
            assert pool.submit(messages.take).result() == ""
        one.submit(messages.add, "launch failed").result()
        assert other.submit(messages.take).result() == ""
        assert one.submit(messages.take_all).result() == ("launch failed",)
        with ThreadPoolExecutor(1) as inner:
            inner.submit(messages.add, "of the library itself").result()
        assert other.submit(messages.take).result() == "of the library itself"
        assert one.submit(messages.take).result() == ""


def test_an_error_on_a_new_thread_is_not_kept_for_one_that_ended() -> None:
    """A build runs on a thread of its own, which may get the number of one that ran a network."""
    messages = Messages()
    for _ in range(5):
        for work in (messages.take, lambda: messages.add("no memory")):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert messages.take() == "no memory"
