"""What the host asks of its child, until a thread of the child has time for it."""

from __future__ import annotations

import queue
import threading
from typing import Protocol, runtime_checkable

from edgeapl.engines.hosted.messages import (
    Cancel,
    DropFrame,
    FinishBatch,
    Open,
    PutFrame,
    RunNetwork,
    StartBatch,
    ToChild,
)

ForChain = PutFrame | StartBatch | FinishBatch | DropFrame
"""What concerns the chain: done one after another, in the order in which it was asked for."""


@runtime_checkable
class Cancellable(Protocol):
    """An engine that can end a run early; of the others the whole process is ended."""

    def cancel(self, thread: int) -> None:
        """End the run that this thread has under way."""


class RequestQueues:
    """A queue for each group of networks and one for the chain; a cancel passes a run under way."""

    def __init__(self) -> None:
        self._opening: queue.Queue[Open] = queue.Queue()
        # Filled when the networks are opened, before the first run comes.
        self._of_group: dict[str, queue.Queue[RunNetwork]] = {}
        self._of_network: dict[str, queue.Queue[RunNetwork]] = {}
        self._for_chain: queue.Queue[ForChain] = queue.Queue()
        self._lock = threading.Lock()
        # Request to what runs it and the thread that is at it; None while it waits.
        self._open: dict[int, tuple[object, int] | None] = {}
        self._cancelled: set[int] = set()

    def put(self, message: ToChild) -> None:
        """Take what the host sent; to be called by one thread that does nothing else."""
        if isinstance(message, Open):
            for group in message.groups:
                runs: queue.Queue[RunNetwork] = queue.Queue()
                self._of_group[group.name] = runs
                self._of_network |= dict.fromkeys((one.name for one in group.networks), runs)
            self._opening.put(message)
        elif isinstance(message, Cancel):
            self._cancel(message.request)
        elif isinstance(message, RunNetwork | PutFrame | StartBatch):
            with self._lock:
                self._open[message.request] = None
        if isinstance(message, RunNetwork):
            self._of_network[message.network].put(message)
        elif isinstance(message, PutFrame | StartBatch | FinishBatch | DropFrame):
            self._for_chain.put(message)

    def opening(self) -> Open:
        """Wait for what is to be opened."""
        return self._opening.get()

    def next_run(self, group: str) -> RunNetwork:
        """Wait for a run of a network of this group."""
        return self._of_group[group].get()

    def next_for_chain(self) -> ForChain:
        """Wait for something that concerns the chain."""
        return self._for_chain.get()

    def begin(self, request: int, runner: object) -> bool:
        """Note that this thread starts with a request; False when it was cancelled by now."""
        with self._lock:
            self._open[request] = runner, threading.get_ident()
            return request not in self._cancelled

    def end(self, request: int) -> None:
        """Note that it is over, so that a late cancel cannot hit the next one."""
        with self._lock:
            del self._open[request]
            self._cancelled.discard(request)

    def _cancel(self, request: int) -> None:
        with self._lock:
            if request not in self._open:
                return
            self._cancelled.add(request)
            at = self._open[request]
            if at is not None and isinstance(at[0], Cancellable):
                at[0].cancel(at[1])
