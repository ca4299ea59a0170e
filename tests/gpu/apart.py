"""A Python process that may hang in a driver and must not hold up who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]

ENDING_S = 5.0
"""A process that waits in a driver may not even end when it is killed; nobody waits for it then."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended.

    code : None when its time was over. said, wrong : what it printed. left : words for one that is
    still there.
    """

    code: int | None
    seconds: float
    said: str
    wrong: str
    left: str = ""


def run_apart(arguments: list[str], limit_s: float) -> Ended:
    """Run Python with arguments in this project's root; ended with all that it started.

    What it prints goes to files: a pipe would stay open as long as anything that it started.
    """
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as wrong:
        running = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=wrong,
            cwd=ROOT,
            start_new_session=True,
        )
        code: int | None = None
        left = ""
        try:
            code = running.wait(limit_s)
        except subprocess.TimeoutExpired:
            left = _killed(running)
        seconds = time.perf_counter() - start
        return Ended(code, seconds, _text(said), _text(wrong), left)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _killed(running: subprocess.Popen[bytes]) -> str:
    """End a process and its group; gives what must be said when that does not work."""
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    try:
        running.wait(ENDING_S)
    except subprocess.TimeoutExpired:
        return ", and it cannot be ended: it waits in the driver"
    return ""
