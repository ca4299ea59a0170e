"""Do one kind of work in threads, or in the calling thread, behind the same methods."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from edgeapl.cores import OwnCores

Work = TypeVar("Work")
Answer = TypeVar("Answer")


class WorkerThreads(Generic[Work, Answer]):
    """Threads that do one kind of work; each may have its next item queued.

    Parameters
    ----------
    do : called in a thread with an item of work.
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
        """Whether every thread has its next item queued, so that none will wait for one."""
        return len(self._running) >= 2 * self._count

    def start(self, work: Work) -> None:
        """Queue an item of work."""
        future = self._pool.submit(self._do, work)
        self._running[future] = work
        # As it ends: to look through all that run at every end takes time from the networks.
        future.add_done_callback(self._ended.put)

    def ended(self, wait_s: float | None) -> list[tuple[Work, Callable[[], Answer]]]:
        """Return the items that are done, each with a function that returns or raises its result.

        Parameters
        ----------
        wait_s : how long to wait for the first; None for as long as it takes.
        """
        ended: list[Future[Answer]] = []
        try:
            if self._running:
                ended.append(self._ended.get(timeout=wait_s))
            while True:
                ended.append(self._ended.get_nowait())
        except Empty:
            return [(self._running.pop(future), future.result) for future in ended]

    def close(self) -> None:
        """Drop queued items, wait for the others, and end the threads."""
        self._pool.shutdown(cancel_futures=True)


class CallingThread(Generic[Work, Answer]):
    """Does the work in the thread that asks for its result, one item at a time.

    Parameters
    ----------
    do : called with an item of work.
    """

    all_busy = False

    def __init__(self, do: Callable[[Work], Answer]) -> None:
        self._do = do
        self._next: list[Work] = []

    def __bool__(self) -> bool:
        return bool(self._next)

    @property
    def full(self) -> bool:
        """Whether an item is queued."""
        return bool(self._next)

    def start(self, work: Work) -> None:
        """Queue an item of work."""
        self._next.append(work)

    def ended(self, wait_s: float | None) -> list[tuple[Work, Callable[[], Answer]]]:
        """Return the queued item; it is done when its result is asked for."""
        ended, self._next = self._next, []
        return [(work, partial(self._do, work)) for work in ended]

    def close(self) -> None:
        """Drop the queued item."""
        self._next.clear()
