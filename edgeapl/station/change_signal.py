"""Notifies page and terminal that there is something new to see."""

from __future__ import annotations

import threading


class ChangeSignal:
    """A number that grows with every change, and a way to wait for that; from any thread."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._revision = 0

    @property
    def revision(self) -> int:
        """Changes so far."""
        return self._revision

    def notify(self) -> None:
        """Count a change and wake everybody who waits."""
        with self._condition:
            self._revision += 1
            self._condition.notify_all()

    def wait(self, revision: int, timeout_s: float) -> None:
        """Wait until the revision exceeds this one, at most `timeout_s` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self._revision > revision, timeout_s)
