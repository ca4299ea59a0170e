"""No process outlives a station that is killed, whatever was done to it meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

PATIENCE_S = 20.0

STATIONS = {
    "networks": """
from edgeapl.engines.hosted.process import EngineProcess
start = lambda: EngineProcess(())
""",
    "camera": """
from edgeapl.capture.process import CaptureProcess
start = lambda: CaptureProcess("demo://apl")
""",
    "trial": """
from pathlib import Path
from edgeapl.model.isolation import call_isolated
start = lambda: call_isolated(Path.exists, Path("x"), folder=Path("x"), limit_s=60)
""",
}

THEN = """
import os, sys, time
os.environ["PYTHONPATH"] = sys.argv[1]
held = start()
time.sleep(60)
"""

SLOW_NUMPY = """
import os, pathlib, time
mark = pathlib.Path(__file__).with_name("mark")
mark.with_suffix(".part").write_text(str(os.getpid()))
mark.with_suffix(".part").rename(mark)
time.sleep(60)
"""


def state(pid: int) -> str:
    """Give the letter of a process's state; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.mark.parametrize("kind", STATIONS)
def test_a_child_that_is_stopped_while_it_starts_ends_with_its_station(
    kind: str, tmp_path: Path
) -> None:
    """Stopped processes end by the kernel's hand alone, and its imports take seconds."""
    (tmp_path / "numpy.py").write_text(SLOW_NUMPY)
    command = [sys.executable, "-c", STATIONS[kind] + THEN, str(tmp_path)]
    child = 0
    with subprocess.Popen(command) as station:
        try:
            end = time.monotonic() + PATIENCE_S
            while not (tmp_path / "mark").exists():
                assert time.monotonic() < end
                time.sleep(0.02)
            child = int((tmp_path / "mark").read_text())
            os.kill(child, signal.SIGSTOP)
            while state(child) != "T":
                time.sleep(0.01)
            station.kill()
            station.wait()
            end = time.monotonic() + PATIENCE_S
            while state(child) not in ("", "Z") and time.monotonic() < end:
                time.sleep(0.02)
            assert state(child) in ("", "Z")
        finally:
            station.kill()
            with suppress(ProcessLookupError):
                if child:
                    os.kill(child, signal.SIGKILL)
