"""The processor's cores that this process may use, and threads that keep to one of them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress


def cores_allowed() -> tuple[int, ...]:
    """Return the numbers of the cores that this process may use; empty if unknown."""
    try:
        # Of the main thread: the calling one may keep to a single core.
        return tuple(sorted(os.sched_getaffinity(os.getpid())))
    except AttributeError:  # not on macOS and Windows
        return ()


def cpu_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(cores_allowed()) or os.cpu_count() or 1


class OwnCores:
    """Keeps threads that compute to a core each, when there are as many of them as cores.

    Otherwise, while another program keeps a core busy, both of two threads may get to the other
    core for a while. When each has its own, the program can slow down only one, and the others
    take over its work (docs/measured.md, "Speed").

    Parameters
    ----------
    threads : that will call `take`. cores : their numbers; those that this process may use.
    """

    def __init__(self, threads: int, cores: Sequence[int] | None = None) -> None:
        cores = cores_allowed() if cores is None else cores
        self._left = deque(cores if len(cores) == threads > 1 else ())

    def take(self) -> None:
        """Keep the calling thread, from now on, to a core that no other one was given."""
        with suppress(IndexError, OSError):  # OSError: taken from this process meanwhile
            os.sched_setaffinity(0, {self._left.popleft()})
