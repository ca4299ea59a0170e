"""How long to wait before a camera's process is started again."""

from __future__ import annotations

from edgeapl.capture.health import Limits
from edgeapl.process.restart import RestartBudget

RETRIES_S = (0.0, 0.25, 0.5)
"""Waits before the next start; the last one again and again: a camera that comes back is live
again within 5 s, the start of the process and the first picture included."""


class RestartDelay:
    """Says how long to wait; a camera is never given up. Times in seconds."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._crashes = RestartBudget(limits.crashes, limits.crashes_within_s)
        self._losses = RestartBudget(limits.crashes, limits.crashes_within_s)
        self._failed = 0

    @property
    def failed(self) -> int:
        """Processes in a row that gave no picture."""
        return self._failed

    def after(self, now_s: float, *, gave_pictures: bool, crashed: bool) -> float:
        """Return the wait after a process that ended now.

        crashed : it ended by itself; else it was ended because its camera was silent or lost.
        """
        if not gave_pictures:
            self._failed += 1
            return RETRIES_S[min(self._failed, len(RETRIES_S)) - 1]
        self._failed = 0
        if (self._crashes if crashed else self._losses).allows_restart(now_s):
            return RETRIES_S[0]
        return self._limits.brake_s if crashed else self._limits.pause_s
