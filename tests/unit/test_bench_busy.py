"""Programs that keep cores busy run only when they are let, and none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgeapl.bench.contention import BusyPrograms
from edgeapl.errors import UsageError

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


def becomes(pid: int, wanted: str) -> bool:
    """Wait until a process is in a state: R runs, T is held (proc(5))."""
    for _ in range(2000):
        if state(pid) in wanted:
            return True
        time.sleep(0.005)
    return False


def test_they_run_only_inside() -> None:
    with BusyPrograms(2) as programs:
        assert len(set(programs.pids)) == 2
        assert all(becomes(pid, "T") for pid in programs.pids)
        with programs.running():
            assert all(becomes(pid, "R") for pid in programs.pids)
        assert all(becomes(pid, "T") for pid in programs.pids)


def test_none_is_left_even_after_an_error() -> None:
    with pytest.raises(KeyboardInterrupt), BusyPrograms(1) as programs, programs.running():
        raise KeyboardInterrupt
    assert not Path(f"/proc/{programs.pids[0]}").exists()


def test_one_that_can_not_be_ended_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    programs = BusyPrograms(2)
    # As of a process that a driver holds: killed, and still there.
    for program in programs._programs:
        monkeypatch.setattr(program, "kill", lambda: None)
    closing = threading.Thread(target=programs.close, daemon=True)
    closing.start()
    closing.join(20)
    stuck = closing.is_alive()
    for pid in programs.pids:
        os.kill(pid, signal.SIGKILL)
    closing.join(20)
    assert not stuck


def test_they_end_with_the_program_that_wants_them() -> None:
    text = (
        "from edgeapl.bench.contention import BusyPrograms; import os\n"
        "programs = BusyPrograms(1)\n"
        "with programs.running():\n"
        "    print(programs.pids[0], flush=True)\n"
        "    os._exit(0)\n"
    )
    # They hold the same pipe: it is read to its end only once they are gone as well.
    done = subprocess.run([sys.executable, "-c", text], check=True, timeout=60, capture_output=True)
    assert int(done.stdout) > 0


def test_where_programs_can_not_be_held_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGSTOP")
    with pytest.raises(UsageError, match="leave --busy out"):
        BusyPrograms(1)
