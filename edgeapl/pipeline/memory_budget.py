"""Memory for frames on their way through the pipeline, in bytes: their number says little."""

from __future__ import annotations

import threading

MOST_BYTES = 256 << 20
"""Of pixels. A frame of 5 megapixels has 15 MB; larger ones than this go through one by one."""


class MemoryBudget:
    """Frames acquire memory when they are read, and release it when they are finished.

    At most `MOST_BYTES` are held at the same time; one frame alone may be larger.
    """

    def __init__(self) -> None:
        self._most = MOST_BYTES
        self._held = 0
        self._last = 0
        self._is_short = False
        self._changed = threading.Condition()

    @property
    def is_short(self) -> bool:
        """Whether the reader waits for memory: then no more frames will fill up a batch."""
        return self._is_short

    def wait(self, timeout_s: float) -> bool:
        """Wait until another frame like the last one fits; False when it does not in time."""
        with self._changed:
            self._is_short = not self._fits()
            fits = self._changed.wait_for(self._fits, timeout_s)
            self._is_short = not fits
            return fits

    def acquire(self, nbytes: int) -> None:
        """Count a frame."""
        with self._changed:
            self._held += nbytes
            self._last = nbytes

    def release(self, nbytes: int) -> None:
        """Count it no longer."""
        with self._changed:
            self._held -= nbytes
            self._changed.notify_all()

    def _fits(self) -> bool:
        return self._held == 0 or self._held + self._last <= self._most
