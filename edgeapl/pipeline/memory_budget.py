"""Room for frames on their way through the pipeline, counted in bytes: their number says little."""

from __future__ import annotations

import threading

MOST_BYTES = 256 << 20
"""Of pixels. A frame of 5 megapixels has 15 MB; larger ones than this go through one by one."""


class Room:
    """Frames take room when they are read, and give it back when they are finished.

    `MOST_BYTES` are held at the same time; one frame alone may be larger.
    """

    def __init__(self) -> None:
        self._most = MOST_BYTES
        self._held = 0
        self._last = 0
        self._wanted = False
        self._news = threading.Condition()

    @property
    def wanted(self) -> bool:
        """Whether who reads waits for room: then no batch will fill up by what comes."""
        return self._wanted

    def wait(self, timeout_s: float) -> bool:
        """Wait for room for another frame like the last one; False when there is none in time."""
        with self._news:
            self._wanted = not self._fits()
            there = self._news.wait_for(self._fits, timeout_s)
            self._wanted = not there
            return there

    def take(self, nbytes: int) -> None:
        """Count a frame."""
        with self._news:
            self._held += nbytes
            self._last = nbytes

    def give_back(self, nbytes: int) -> None:
        """Count it no longer."""
        with self._news:
            self._held -= nbytes
            self._news.notify_all()

    def _fits(self) -> bool:
        return self._held == 0 or self._held + self._last <= self._most
