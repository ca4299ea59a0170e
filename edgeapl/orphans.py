"""A process that must not outlive the one that started it."""

from __future__ import annotations

import ctypes
import signal
from contextlib import suppress

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it is gone.

    To be called before anything is imported that takes its time: until then a process that is
    stopped would be left. Elsewhere than on Linux nothing happens: there a pipe that is closed must
    do.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
