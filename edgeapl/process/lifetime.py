"""What a child process owes its parent: to end with it, and before it when memory runs out.

Import nothing here that takes its time: until `end_with_parent` is called, a child that is stopped
would be left behind.
"""

from __future__ import annotations

import ctypes
import resource
import signal
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it is gone.

    Elsewhere than on Linux nothing happens: there a pipe that is closed must do.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def ignore_stop_signals() -> None:
    """Leave Ctrl-C and a stop of the service to the parent, though they reach the whole group.

    The parent may still need its children, and ends them when it is done with them.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def write_no_core() -> None:
    """Leave no core file behind: writing a gigabyte would hold up the next start."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_first(score: int = 500) -> None:
    """Have the kernel end this process rather than its parent when memory runs out.

    score : 0 to 1000, the higher the sooner.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(score), encoding="ascii")
