"""Threads that run networks, and what they are at."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from edgeapl.cores import OwnCores

Work = TypeVar("Work")
Answer = TypeVar("Answer")


class Workers(Generic[Work, Answer]):
    """Threads that do one kind of work; each may have its next piece in front of it.

    Parameters
    ----------
    do : done in a thread; what it raises is raised by its future.
    count : threads, until `close`.
    """

    def __init__(self, do: Callable[[Work], Answer], count: int) -> None:
        self._do = do
        self._count = count
        self._pool = ThreadPoolExecutor(count, "edgeapl-infer", initializer=OwnCores(count).take)
        self._running: dict[Future[Answer], Work] = {}
        self._ended: SimpleQueue[Future[Answer]] = SimpleQueue()

    def __bool__(self) -> bool:
        return bool(self._running)

    @property
    def all_busy(self) -> bool:
        """Whether every thread has something to do."""
        return len(self._running) >= self._count

    @property
    def full(self) -> bool:
        """Whether every thread has its next piece in front of it: none waits for who starts it."""
        return len(self._running) >= 2 * self._count

    def start(self, work: Work) -> None:
        """Have it done when a thread is free."""
        future = self._pool.submit(self._do, work)
        self._running[future] = work
        # As it ends: to look through all that run at every end takes time from the networks.
        future.add_done_callback(self._ended.put)

    def ended(self, wait_s: float | None) -> list[tuple[Work, Future[Answer]]]:
        """Give what has ended; wait for one piece, not longer than `wait_s`, None for ever."""
        ended: list[Future[Answer]] = []
        try:
            if self._running:
                ended.append(self._ended.get(timeout=wait_s))
            while True:
                ended.append(self._ended.get_nowait())
        except Empty:
            return [(self._running.pop(future), future) for future in ended]

    def close(self) -> None:
        """Wait for what nobody needs any more, and end the threads."""
        self._pool.shutdown(cancel_futures=True)
