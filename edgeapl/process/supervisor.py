"""The thread that starts a child, attends to it until its end, and starts the next."""

from __future__ import annotations

import os
import select
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from edgeapl.process.exit import Exit
from edgeapl.process.messages import MessageError

MOST_WAKES = 64 << 10
"""All that a pipe can hold."""


class Endable(Protocol):
    """What a supervisor itself needs of a child."""

    def end(self, grace_s: float = 0.0) -> Exit:
        """Make sure that it is gone and return how it ended; a second call does nothing."""


Child = TypeVar("Child", bound=Endable)
End = TypeVar("End")


class Wakeup:
    """Wakes a thread that waits for a child: a pipe, so that it can wait for both at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_open = True
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    @property
    def descriptor(self) -> int:
        """To be waited for; there is something to read after `set`."""
        return self._reader

    def set(self) -> None:
        """Wake the thread, from any other; nothing happens after `close`."""
        with self._lock, suppress(BlockingIOError):  # full: it wakes anyway
            if self._is_open:
                os.write(self._writer, b"\0")

    def clear(self) -> None:
        """Forget that it was set."""
        with suppress(BlockingIOError):
            os.read(self._reader, MOST_WAKES)

    def wait(self, timeout_s: float | None) -> None:
        """Wait until it is set, and forget it."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.poll(None if timeout_s is None else timeout_s * 1000)
        self.clear()

    def close(self) -> None:
        """Close the pipe."""
        with self._lock:
            if self._is_open:
                os.close(self._reader)
                os.close(self._writer)
            self._is_open = False


class Supervisor(ABC, Generic[Child, End]):
    """Keeps one child alive, in one thread for as long as it lives.

    A subclass says how the child is started, what is done with it, and what its end means.

    Parameters
    ----------
    name : of the thread.
    """

    def __init__(self, name: str) -> None:
        self._wakeup = Wakeup()
        self._is_closing = False
        # One thread: Linux ends a child together with the thread that started it.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; to be called once, when the subclass is ready."""
        self._thread.start()

    def wake(self) -> None:
        """Let `_attend` look at once at what has changed; from any thread."""
        self._wakeup.set()

    def close(self) -> None:
        """End the child and the thread; a second call does nothing."""
        self._is_closing = True
        self._wakeup.set()
        self._thread.join()
        self._wakeup.close()

    @abstractmethod
    def _launch(self) -> Child:
        """Start a child; raises OSError when the system gives no process."""

    @abstractmethod
    def _attend(self, child: Child) -> End:
        """Serve a child until its end, or until `_is_closing`; returns why it is over.

        A MessageError that it raises is handed to `_confused`.
        """

    @abstractmethod
    def _confused(self, error: MessageError) -> End:
        """Return the end of a child that broke the rules."""

    @abstractmethod
    def _not_started(self, error: OSError) -> float | None:
        """Note that there is no child; returns as `_ended`."""

    @abstractmethod
    def _ended(self, end: End, how: Exit) -> float | None:
        """Note the end of a child; returns the seconds until the next, None for no other."""

    @abstractmethod
    def _over(self) -> None:
        """Note that there will be no other child, however it came: nobody may wait for one."""

    def _grace_s(self, end: End) -> float:
        """Return how long the child may take to end by itself, in seconds."""
        return 0.0

    def _run(self) -> None:
        try:
            while not self._is_closing:
                pause_s = self._one_life()
                if pause_s is None:
                    break
                self._pause(pause_s)
        finally:
            self._over()

    def _one_life(self) -> float | None:
        try:
            child = self._launch()
        except OSError as error:
            return self._not_started(error)
        grace_s = 0.0
        try:
            try:
                end = self._attend(child)
            except MessageError as error:
                end = self._confused(error)
            grace_s = self._grace_s(end)
        finally:
            how = child.end(grace_s)
        return self._ended(end, how)

    def _pause(self, seconds: float) -> None:
        """Wait unless it is closed meanwhile. seconds : may be infinite."""
        until = time.monotonic() + seconds
        while not self._is_closing:
            left_s = until - time.monotonic()
            if left_s <= 0:
                return
            self._wakeup.wait(None if left_s == float("inf") else left_s)
