"""A child process is started, spoken with and ended; whatever it does, its parent goes on."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from edgeapl.capture import process as capture_process
from edgeapl.capture.health import CameraState, Limits
from edgeapl.capture.process import CaptureProcess
from edgeapl.capture.restart import RestartDelay
from edgeapl.capture.source import SupervisedSource
from edgeapl.engines.hosted import process as hosted_process
from edgeapl.engines.hosted.host import EngineHost
from edgeapl.engines.hosted.networks import NetworkFile
from edgeapl.errors import EngineError, StorageError
from edgeapl.model.isolation import call_isolated
from edgeapl.process import exit as process_exit
from edgeapl.process.child import ChildProcess
from edgeapl.process.exit import Exit
from edgeapl.process.messages import MOST_REQUEST_BYTES, MessageError
from edgeapl.process.program import run_program
from edgeapl.process.restart import RestartBudget
from edgeapl.process.supervisor import Supervisor
from tests import process_child as words
from tests.pictures import stated_scale
from tests.process_child import FIRST, PICTURES, WORDS, WRITES, Number, Word
from tests.waiting import thread_states

Said = Word | Number
Child = ChildProcess[Said, Said]

PATIENCE_S = 20.0


@contextmanager
def started(how: str) -> Iterator[Child]:
    child: Child = ChildProcess(words.__name__, WORDS, WORDS, arguments=(how,))
    try:
        yield child
    finally:
        child.end()


def heard(child: Child) -> list[Said]:
    """Wait for messages, whatever the time it takes to start."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        messages = child.receive(1.0)
        if messages is None:
            raise EOFError
        if messages:
            return messages
    raise AssertionError("waited in vain")


def test_messages_come_back_as_they_went() -> None:
    with started("echoes") as child:
        sent: list[Said] = [Word("a\nb"), Number(2**40), Word("é" * 1000)]
        assert all(child.send(message) for message in sent)
        came: list[Said] = []
        while len(came) < len(sent):
            came += heard(child)
        assert came == sent


@pytest.mark.parametrize("how", [*(how for how in WRITES if how not in PICTURES), *FIRST])
def test_a_child_that_breaks_the_rules_is_an_error_in_words(how: str) -> None:
    with started(how) as child:
        with pytest.raises(MessageError) as caught:
            heard(child)
        text = str(caught.value)
        assert "\n" not in text
        assert len(text) < 400
        if how in FIRST:
            assert text.endswith("and not 'edgeapl 0.1.0': start this program again")
        elif how == "a line without an end":
            assert text.startswith("message of more than 1048576 bytes: ")
        else:
            assert text.startswith("no message: ")


def test_a_child_that_dies_in_the_middle_of_a_message_is_said_to() -> None:
    with started("torn") as child:
        with pytest.raises(EOFError):
            heard(child)
        assert str(child.end(PATIENCE_S)) == "SIGABRT in the middle of a message"


BROKEN_RULES = {
    "another version": "its process is 'edgeapl 0.0.9' and not 'edgeapl 0.1.0': start this program",
    "not JSON": "no message: b'hello'",
    "a field too many": "no message: ",
    "a line without an end": "message of more than 1048576 bytes",
    "torn": "SIGABRT in the middle of a message",
}


@pytest.mark.parametrize("how", BROKEN_RULES)
def test_a_host_says_in_words_how_its_child_broke_the_rules(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_process, "CHILD", words.__name__)
    monkeypatch.setenv(words.HOW, how)
    with pytest.raises(EngineError) as caught:
        EngineHost.open([NetworkFile("cells", "onnxruntime", Path("/x"), "a" * 64)])
    text = str(caught.value)
    assert text.startswith("network process d")
    assert BROKEN_RULES[how] in text


@pytest.mark.parametrize("how", BROKEN_RULES)
def test_a_camera_says_in_words_how_its_child_broke_the_rules(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_process, "CHILD", words.__name__)
    monkeypatch.setenv(words.HOW, how)
    with SupervisedSource("demo://apl", stated_scale, patient=True) as source:
        source.wait_until_open()
        health = source.health()
    assert health.state is CameraState.LOST
    assert BROKEN_RULES[how] in health.text
    assert health.text.endswith("it is started again")


@pytest.mark.parametrize("how", PICTURES)
def test_a_picture_that_is_none_ends_the_process_of_a_camera(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_process, "CHILD", words.__name__)
    monkeypatch.setenv(words.HOW, how)
    with SupervisedSource("demo://apl", stated_scale, patient=True) as source:
        source.wait_until_open()
        health = source.health()
    assert (health.state, health.received) == (CameraState.LOST, 0)
    assert re.search("confused .no (picture|array of the shared memory): ", health.text)


def test_a_message_that_would_not_fit_into_the_pipe_is_refused_before_it_is_sent() -> None:
    with started("echoes") as child:
        with pytest.raises(MessageError, match="too long"):
            child.send(Word("x" * MOST_REQUEST_BYTES))
        assert child.send(Word("x"))
        assert heard(child) == [Word("x")]


def test_the_last_words_are_kept_and_the_others_take_no_memory() -> None:
    with started("prints") as child:
        assert heard(child) == [Word("printed")]
        assert os.fstat(child._printed).st_size == 0
        assert child.send(Word("x"))
        heard(child)
        assert child.end() == Exit("SIGKILL")
    with started("not JSON") as child:
        child._process.kill()
        assert str(child.end()) == "SIGKILL"


def test_an_end_is_told_once_and_a_child_that_is_gone_hears_nothing() -> None:
    with started("echoes") as child:
        child._process.kill()
        first = child.end(PATIENCE_S)
        assert child.end() is first
        assert not child.send(Word("x"))


def test_a_child_that_ends_with_its_pipe_may_do_so() -> None:
    with started("echoes") as child:
        child.send(Word("x"))
        heard(child)
        assert child.end(PATIENCE_S) == Exit("exit code 0")


@contextmanager
def many_open_files(number: int = 1100) -> Iterator[None]:
    """Open so many files that every further one has a number above 1023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * number:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * number), hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(number):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        yield


def test_a_descriptor_above_1023_can_be_waited_for() -> None:
    with many_open_files(), started("echoes") as child:
        assert child._replies > 1023
        child.send(Word("x"))
        assert heard(child) == [Word("x")]


def test_a_child_that_a_driver_holds_does_not_hold_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_exit, "STUCK_S", 0.1)
    with started("echoes") as child:
        child.send(Word("x"))
        heard(child)
        with monkeypatch.context() as held:
            held.setattr(subprocess.Popen, "kill", lambda _: None)
            os.kill(child.pid, signal.SIGSTOP)
            while not all(state == "T" for state in thread_states(child.pid)):
                time.sleep(0.01)
            start = time.monotonic()
            assert child.end(0.1) == Exit("killed, but held by a driver", is_stuck=True)
            assert time.monotonic() - start < 5.0
        child._process.kill()
        child._process.wait(PATIENCE_S)


@pytest.mark.slow
def test_a_call_in_a_process_that_a_driver_holds_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process_exit, "STUCK_S", 0.1)
    mark = tmp_path / "mark"
    start = time.monotonic()
    with monkeypatch.context() as held:
        held.setattr(subprocess.Popen, "kill", lambda _: None)
        with pytest.raises(EngineError, match="networks do not come to an end: here: "):
            call_isolated(words.stop, mark, folder=Path("here"), limit_s=6.0)
    assert time.monotonic() - start < 6.0 + 5.0
    pid = int(mark.read_text())
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}").exists():  # not even as a zombie
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_program_that_a_driver_holds_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_exit, "STUCK_S", 0.1)
    text = "import os; print(os.getpid(), flush=True); os.kill(os.getpid(), 19)"
    start = time.monotonic()
    with monkeypatch.context() as held:
        held.setattr(os, "killpg", lambda *_: None)
        done = run_program([sys.executable, "-c", text], 3.0)
    assert time.monotonic() - start < 3.0 + 5.0
    assert done.code is None
    os.kill(int(done.output), signal.SIGKILL)


def test_what_a_call_refuses_and_how_its_process_ends_is_told() -> None:
    call_isolated(len, "x", folder=Path("here"), limit_s=PATIENCE_S)
    with pytest.raises(StorageError, match="é\n: x: y"):
        call_isolated(words.refuse, "é\n", folder=Path("here"), limit_s=PATIENCE_S)
    with pytest.raises(EngineError, match="end the process that runs them: here: SIGABRT"):
        call_isolated(os.abort, folder=Path("here"), limit_s=PATIENCE_S)
    with pytest.raises(EngineError, match="here: exit code 1: OSError: full"):
        call_isolated(words.fail, folder=Path("here"), limit_s=PATIENCE_S)


@pytest.mark.parametrize("kind", ["networks", "camera"])
@pytest.mark.parametrize(
    ("deaths_s", "is_allowed"),
    [
        ([0, 1, 2, 3], True),
        ([0, 1, 2, 3, 4], False),
        ([0, 10, 20, 30, 60], False),
        ([0, 10, 20, 30, 61], True),
        ([0, 61, 62, 63, 64], True),
        ([0, 61, 62, 63, 64, 65], False),
    ],
)
def test_networks_and_cameras_count_their_deaths_alike(
    kind: str, deaths_s: list[int], is_allowed: bool
) -> None:
    """Four restarts within a minute are allowed here, a fifth is not; what follows is policy."""
    if kind == "networks":
        budget = RestartBudget()
        results = [budget.allows_restart(float(second)) for second in deaths_s]
    else:
        delay = RestartDelay(Limits(crashes=budget_default()))
        waits = [delay.after(second, gave_pictures=True, crashed=True) for second in deaths_s]
        results = [wait_s == 0 for wait_s in waits]
    assert all(results[:-1])
    assert results[-1] is is_allowed


def budget_default() -> int:
    return RestartBudget().restarts


class Echoes(Supervisor[Child, str]):
    """Supervises children whose first life breaks the rules."""

    def __init__(self) -> None:
        super().__init__("test-supervisor")
        self.ends: list[tuple[str, str]] = []
        self.is_over = threading.Event()
        self.lives = ["not JSON", "torn", "echoes"]

    def _launch(self) -> Child:
        return ChildProcess(words.__name__, WORDS, WORDS, arguments=(self.lives.pop(0),))

    def _attend(self, child: Child) -> str:
        while not self._is_closing:
            if child.receive(None, self._wakeup.descriptor) is None:
                return "died"
            self._wakeup.clear()
        return "closed"

    def _confused(self, error: MessageError) -> str:
        return "confused"

    def _not_started(self, error: OSError) -> float | None:
        raise AssertionError

    def _ended(self, end: str, how: Exit) -> float | None:
        self.ends.append((end, how.cause))
        return None if end == "closed" else 0.0 if self.lives else float("inf")

    def _over(self) -> None:
        self.is_over.set()

    def _grace_s(self, end: str) -> float:
        return PATIENCE_S if end == "died" else 0.0


def test_a_supervisor_starts_the_next_child_until_it_is_closed() -> None:
    supervisor = Echoes()
    supervisor.start()
    until = time.monotonic() + PATIENCE_S
    while len(supervisor.ends) < 2:
        assert time.monotonic() < until
        time.sleep(0.01)
    supervisor.wake()
    supervisor.close()
    supervisor.close()
    supervisor.wake()
    assert supervisor.is_over.is_set()
    assert supervisor.ends == [
        ("confused", "SIGKILL"),
        ("died", "SIGABRT in the middle of a message"),
        ("closed", "SIGKILL"),
    ]


def test_a_child_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with started("echoes"):
        pass
    before = files()
    for _ in range(3):
        with started("echoes"):
            pass
    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(OSError, match="/no/python"):
        Child(words.__name__, WORDS, WORDS)
    with pytest.raises(OSError, match="/no/python"):
        CaptureProcess("demo://apl")
    assert files() == before
