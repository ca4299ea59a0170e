"""A network in the child process is an engine like any other, and the child is no burden."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeapl.bundle.digest import sha256
from edgeapl.engines.hosted.arrays import put_arrays
from edgeapl.engines.hosted.host import EngineHost
from edgeapl.engines.hosted.messages import (
    REPLIES,
    REQUESTS,
    Answer,
    Cancel,
    ChainInfo,
    DropFrame,
    EngineInfo,
    Failed,
    FinishBatch,
    Open,
    Opened,
    PutFrame,
    Reply,
    RunNetwork,
    StartBatch,
    ToChild,
)
from edgeapl.engines.hosted.networks import ChainFile, GroupFiles, NetworkFile, network_files
from edgeapl.engines.ort import OrtEngine
from edgeapl.engines.registry import Origin, open_engine
from edgeapl.engines.store.folder import write_engines
from edgeapl.engines.trt.plan import Place, PlanRecord
from edgeapl.errors import EngineError
from edgeapl.model.assembled import assemble
from edgeapl.model.golden import self_test
from edgeapl.process.memory import ArrayPlace, SharedMemory
from edgeapl.process.messages import MOST_REQUEST_BYTES, Codec, Failure, MessageError
from edgeapl.protocols import Arrays, Engine, TransferCounts
from tests.contract.test_engines import (  # noqa: F401 - run here on a hosted engine
    test_a_cell_gets_the_same_answer_in_any_batch,
    test_a_closed_engine_refuses_and_closes_twice,
    test_input_that_does_not_fit_is_refused,
    test_it_says_what_it_is,
    test_the_caller_owns_the_answer,
)
from tests.conv_bundle import conv_bundle, conv_network
from tests.gpu_chain import LINKS
from tests.slow_networks import (
    ENDLESS,
    chain_network,
    count,
    loop_network,
    non_zero_network,
    same_bits,
    steps,
    written,
    zeros_network,
)
from tests.small_bundle import SIZE, cell_network, head_network, small_bundle
from tests.unit.test_engine_store import record
from tests.waiting import wait_until

PATIENCE_S = 20.0


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Stand in for the engine of the contract."""
    with EngineHost.open(written(tmp_path, cells=cell_network())) as host:
        yield host.engines["cells"]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineHost]:
    """One host for the tests that only ask it for answers."""
    networks = {
        "conv": conv_network(),
        "head": head_network(),
        "loop": loop_network(),
        "chain": chain_network(),
        "zeros": zeros_network(),
        "places": non_zero_network(),
    }
    with EngineHost.open(written(tmp_path_factory.mktemp("many"), **networks), workers=2) as host:
        yield host


def cells(number: int) -> Arrays:
    random = np.random.default_rng(number)
    return {"cells": random.integers(0, 256, (number, SIZE, SIZE, 3), dtype=np.uint8)}


def floats(*values: float) -> Arrays:
    return {"x": np.array(values, np.float32)}


ASKED: dict[str, tuple[str, bytes, Arrays]] = {
    "one cell": ("conv", conv_network(), cells(1)),
    "many cells": ("conv", conv_network(), cells(17)),
    "more than the memory held": ("conv", conv_network(), cells(1500)),
    "an answer larger than the memory held": ("places", non_zero_network(), floats(*range(300000))),
    "not a number": ("head", head_network(), {"ratios": np.array([[np.nan, 0, 1]], np.float32)}),
    "infinity": ("head", head_network(), {"ratios": np.array([[np.inf, 0, 1]], np.float32)}),
    "a sequence": ("chain", chain_network(), steps(8)),
    "no rows": ("zeros", zeros_network(), {"size": np.array([0, 5])}),
    "an empty answer": ("places", non_zero_network(), floats(0, 0)),
    "truth values and whole numbers": ("places", non_zero_network(), floats(0, np.nan, 5, -0.0)),
    "inputs of two types": ("loop", loop_network(), count(7, 0.5)),
    "inputs not in one piece": (
        "head",
        head_network(),
        {"ratios": np.eye(6, dtype="f4")[::2, ::2]},
    ),
}


@pytest.mark.parametrize("case", ASKED)
def test_answers_are_those_of_the_station_itself_to_the_bit(many: EngineHost, case: str) -> None:
    network, data, inputs = ASKED[case]
    here = OrtEngine(network, data)
    want = here.run(inputs)
    assert same_bits(many.engines[network].run(inputs), want)
    assert many.engines[network].digest == here.digest
    assert many.engines[network].runtime == here.runtime


def test_a_network_that_fails_says_the_same_there_as_here(many: EngineHost) -> None:
    inputs = {"size": np.array([-1, 3])}
    with pytest.raises(EngineError) as here:
        OrtEngine("zeros", zeros_network()).run(inputs)
    with pytest.raises(EngineError) as there:
        many.engines["zeros"].run(inputs)
    assert str(there.value) == str(here.value)


def test_callers_at_the_same_time_get_their_own_answers(many: EngineHost) -> None:
    with ThreadPoolExecutor(8) as pool:
        starts = list(range(100))
        answers = pool.map(lambda start: many.engines["loop"].run(count(1000, start))["y"], starts)
        assert [float(answer[0]) for answer in answers] == [start + 1000 for start in starts]


def changed(file: NetworkFile) -> NetworkFile:
    file.path.write_bytes(file.path.read_bytes() + b"\0")
    return file


def no_network(file: NetworkFile) -> NetworkFile:
    file.path.write_bytes(b"no network")
    return replace(file, sha256=sha256(b"no network"))


REFUSED: dict[str, tuple[Callable[[NetworkFile], NetworkFile], str]] = {
    "changed": (changed, "network was changed since it was checked"),
    "missing": (lambda file: replace(file, path=file.path / "no"), "network cannot be read"),
    "no network": (no_network, "network was refused by onnxruntime: cells: "),
    "unknown target": (lambda file: replace(file, target="abacus"), "unknown target: abacus"),
    "a plan without a record": (
        lambda file: replace(file, target="tensorrt"),
        "plan has no record",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_network_that_cannot_be_opened_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    breaks, words = REFUSED[case]
    (file,) = written(tmp_path, cells=cell_network())
    with pytest.raises(EngineError, match=words) as caught:
        EngineHost.open([breaks(file)])
    assert "\n" not in str(caught.value)


def test_a_bundle_passes_its_self_test_through_the_child(tmp_path: Path) -> None:
    bundle = conv_bundle(tmp_path / "bundle")
    with EngineHost.open(network_files(bundle)) as host:
        self_test(assemble(bundle, host.engines))


def test_engines_stand_in_place_of_the_bundles_networks(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    other = cell_network(bias=np.zeros(3, np.float32))
    (tmp_path / "made.onnx").write_bytes(other)
    built = record(other)
    both = {**built.networks, "head": built.networks["cells"].model_copy(update={"file": "h.onnx"})}
    (tmp_path / "head.onnx").write_bytes(other)
    files = {"cells.onnx": tmp_path / "made.onnx", "h.onnx": tmp_path / "head.onnx"}
    engines = write_engines(
        tmp_path / "engines", built.model_copy(update={"networks": both}), files
    )
    with EngineHost.open(network_files(bundle, threads=7, engines=engines)) as host:
        assert host.engines["cells"].digest == sha256(other)
        assert same_bits(host.engines["cells"].run(cells(2)), OrtEngine("c", other).run(cells(2)))


def test_only_the_station_ends_the_child(tmp_path: Path) -> None:
    """Ctrl-C and a stop of the service reach it too, but the last batch is still to be judged."""
    with EngineHost.open(written(tmp_path, loop=loop_network())) as host:
        pid = host.health.pid
        assert pid is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        assert float(host.engines["loop"].run(count(1000))["y"][0]) == 1000
        assert (host.health.pid, host.health.deaths) == (pid, 0)


STATION = """
import sys, threading
from pathlib import Path
from edgeapl.engines.hosted.host import EngineHost
from tests.slow_networks import ENDLESS, count, loop_network, written
host = EngineHost.open(written(Path(sys.argv[1]), loop=loop_network()))
threading.Thread(target=host.engines["loop"].run, args=(count(ENDLESS),), daemon=True).start()
print(host.health.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_the_child_goes_with_the_station_even_from_an_endless_run(tmp_path: Path, how: str) -> None:
    command = [sys.executable, "-c", STATION, str(tmp_path)]
    root = Path(__file__).resolve().parents[2]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=root) as station:
        assert station.stdin is not None
        assert station.stdout is not None
        pid = int(station.stdout.readline())
        assert is_alive(pid)
        if how == "killed":
            station.kill()
        else:
            station.stdin.close()
        assert station.wait(PATIENCE_S) == (-signal.SIGKILL if how == "killed" else 0)
    wait_until(lambda: not is_alive(pid), PATIENCE_S)


@pytest.mark.slow
def test_nothing_is_left_open_after_a_host(tmp_path: Path) -> None:
    files = written(tmp_path, loop=loop_network())
    with EngineHost.open(files):
        pass
    before = open_files(), shared_memory()
    for _ in range(3):
        with EngineHost.open(files, workers=2) as host:
            pid = host.health.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda host=host: host.health.deaths == 1, PATIENCE_S)  # type: ignore[misc]
            host.engines["loop"].run(count(1))
        assert not is_alive(pid)
    with pytest.raises(EngineError):
        EngineHost.open([no_network(files[0])])
    assert (open_files(), shared_memory()) == before


def test_closing_ends_a_run_and_closes_twice(tmp_path: Path) -> None:
    host = EngineHost.open(written(tmp_path, loop=loop_network()))
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(host.engines["loop"].run, count(ENDLESS))
        time.sleep(0.1)
        host.close()
        host.close()
        with pytest.raises(EngineError, match="closed"):
            run.result(PATIENCE_S)
    assert not host.health.ready


def test_the_child_ends_with_its_last_engine(tmp_path: Path) -> None:
    host = EngineHost.open(written(tmp_path, loop=loop_network(), head=head_network()))
    pid = host.health.pid
    assert pid is not None
    host.engines["head"].close()
    assert float(host.engines["loop"].run(count(2))["y"][0]) == 2
    host.engines["loop"].close()
    assert not is_alive(pid)


def test_it_works_where_there_is_nothing_of_linux_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.delattr(os, "posix_fallocate")
    with EngineHost.open(written(tmp_path, conv=conv_network())) as host:
        have = host.engines["conv"].run(cells(1500))
    assert same_bits(have, open_engine("onnxruntime", "conv", conv_network()).run(cells(1500)))


def test_cancelling_ends_the_run_of_one_thread_alone() -> None:
    engine = OrtEngine("loop", loop_network())
    engine.cancel(12345)
    with ThreadPoolExecutor(1) as pool:
        thread = pool.submit(threading.get_ident).result()
        endless = pool.submit(engine.run, count(ENDLESS))
        until = time.monotonic() + PATIENCE_S
        while not endless.done() and time.monotonic() < until:
            engine.cancel(thread)
            time.sleep(0.01)
        with pytest.raises(EngineError, match="terminate"):
            endless.result(0)
    assert float(engine.run(count(3))["y"][0]) == 3


PLACE = ArrayPlace("cells", "uint8", (2, 3), 64)
PLAN = PlanRecord("a" * 64, 5, Place("tensorrt", "10.3", "a GPU", "8.7", "m"))
MADE = Origin(PLAN, "m")
FILE = NetworkFile("cells", "tensorrt", Path("/é\n"), "a" * 64, 2, MADE)
MESSAGES: tuple[ToChild | Reply, ...] = (
    Open((GroupFiles("cells", (FILE,)), GroupFiles("head", (), workers=2, most_s=0.5))),
    Open((GroupFiles("cells", (NetworkFile("cells", "onnxruntime", Path("/x"), "a" * 64),)),)),
    Open((GroupFiles("cells", (), ChainFile("tensorrt", Path("/x"), "a" * 64, LINKS, MADE)),)),
    RunNetwork(1, 0, "cells", (PLACE,)),
    PutFrame(1, 0, 7, (PLACE,)),
    StartBatch(1, 0, ("cells", "more"), ((7, 2), (8, 1)), (PLACE, PLACE)),
    FinishBatch(1),
    DropFrame(7),
    Cancel(7),
    Opened((EngineInfo("cells", "r", "d", (("cells", "uint8", (None, 3)),), ("a", "b")),)),
    Opened((), ChainInfo("r", "d", 8, 2, 5, 3, labelled=True)),
    Answer(1, (PLACE, PLACE)),
    Answer(1, (), TransferCounts(4, 3, 2, 1)),
    Failed(1, Failure("EngineError", "what", "which", "mend\nmend"), is_last=True),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent_on_one_line(message: ToChild | Reply) -> None:
    codec: Codec[Any] = REPLIES if isinstance(message, Reply) else REQUESTS
    line = codec.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert codec.decode(line.rstrip(b"\n")) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b'[{"kind": "run network"}]',
        b'[{"kind": "rerun"}]',
        b'[{"kind": "answer", "request": 1, "arrays": 3}]',
        b'[{"kind": "cancel", "request": 1}]',
    ],
)
def test_nonsense_is_no_answer(line: bytes) -> None:
    with pytest.raises(MessageError, match="no message"):
        REPLIES.decode(line)


def test_networks_whose_names_do_not_fit_into_a_request_are_refused_in_one_line() -> None:
    long = NetworkFile("x" * MOST_REQUEST_BYTES, "onnxruntime", Path("/x"), "a" * 64)
    with pytest.raises(EngineError, match=r"request is too long: .*: use shorter names"):
        EngineHost.open([long])


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": -64},
        {"offset": 1 << 20},
        {"shape": (1 << 20, 2)},
        {"shape": (-1, -1)},
        {"shape": (1 << 62, 1 << 62)},
        {"dtype": "object"},
        {"dtype": "no type"},
    ],
)
def test_a_place_outside_the_memory_is_never_read(changes: dict[str, object]) -> None:
    with closing(SharedMemory.create("test")) as memory:
        assert memory.take((PLACE,))["cells"].shape == (2, 3)
        with pytest.raises(ValueError, match="no array of the shared memory"):
            memory.take((replace(PLACE, **changes),))  # type: ignore[arg-type]


def test_no_memory_is_an_error_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with closing(SharedMemory.create("test")) as memory:
        assert put_arrays(memory, cells(1))
        with pytest.raises(
            EngineError, match="5 MiB: No space left on device: use a smaller batch"
        ):
            put_arrays(memory, cells(1500))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir() if "edgeapl" in path.name}
