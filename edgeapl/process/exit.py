"""How a process ended, and a wait for it that has an end itself."""

from __future__ import annotations

import signal
import subprocess
import threading
from dataclasses import dataclass
from typing import Any

STUCK_S = 2.0
"""How long a killed process is waited for. One that hangs in a driver goes when the driver lets it,
and runs no line of its own any more; the program must not hang with it."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended.

    cause : its signal or exit code, in words. last_words : the last line that it printed.
    is_stuck : it was killed and is still there; a driver holds it.
    """

    cause: str
    last_words: str = ""
    is_stuck: bool = False

    def __str__(self) -> str:
        return f"{self.cause}: {self.last_words}" if self.last_words else self.cause


def wait_for_killed(process: subprocess.Popen[Any]) -> int | None:
    """Wait `STUCK_S` at most for a killed process; returns its code, None when it is held."""
    try:
        return process.wait(STUCK_S)
    except subprocess.TimeoutExpired:
        # Reaped when the driver lets it go, whoever has forgotten it by then.
        name = f"edgeapl-stuck-{process.pid}"
        threading.Thread(target=process.wait, name=name, daemon=True).start()
        return None


def in_words(code: int) -> str:
    """Return the signal or the exit code of a process in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # one of the real-time signals
        return f"signal {-code}"
