"""Cells that wait for the networks of one executor."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum

from edgeapl.inference.executor import Executor, Networks
from edgeapl.inference.routing import Step


class Policy(Enum):
    """Which of several networks with a batch runs next."""

    FULLEST = "the one that most cells wait for: the first cells are done long before the last"
    SAME = "the one that ran last, whose weights are in the processor's cache; else the fullest"
    FIRST = "the one that others wait for: each then sees all its cells in full batches"


class BatchQueues:
    """One queue per group of networks that a batch can go through.

    Parameters
    ----------
    executor : runs the batches.
    steps : all networks, each after those it waits for.
    """

    def __init__(self, executor: Executor, steps: Sequence[Step]) -> None:
        self.executor = executor
        self._queues: dict[Networks, deque[int]] = {}
        self._last: Networks | None = None
        if not executor.fuses:  # `Policy.FIRST` goes by this order
            self._queues = {(step.network,): deque() for step in steps}

    def put(self, cell: int, networks: Sequence[str]) -> None:
        """Queue a cell for all these networks."""
        for group in [tuple(networks)] if self.executor.fuses else [(name,) for name in networks]:
            self._queues.setdefault(group, deque()).append(cell)

    def put_back(self, networks: Networks, cells: Sequence[int]) -> None:
        """Queue cells again, in front of all others."""
        self._queues[networks].extendleft(reversed(cells))

    def remove(self, cell: int) -> None:
        """Take a cell out of all queues."""
        for queue in self._queues.values():
            if cell in queue:
                queue.remove(cell)

    def pop(self, networks: Networks) -> list[int]:
        """Take the cells of one batch, at most `Executor.batch_size`."""
        queue = self._queues[networks]
        return [queue.popleft() for _ in range(min(len(queue), self.executor.batch_size))]

    def has_batch(self, *, flush: bool) -> bool:
        """Whether a batch is full; with `flush`, whether any cell waits."""
        flush = flush or self.executor.is_starved
        return any(self._is_batch(queue, flush=flush) for queue in self._queues.values())

    def has_cells(self, networks: Networks) -> bool:
        """Whether a cell waits for these networks."""
        return bool(self._queues.get(networks))

    def next(self, policy: Policy, *, flush: bool) -> Networks | None:
        """Return the networks to run next; None when none has a batch."""
        flush = flush or self.executor.is_starved
        last = self._last if policy is Policy.SAME else None
        if last is not None and self._is_batch(self._queues[last], flush=flush):
            return last
        ready = (
            networks
            for networks, queue in self._queues.items()
            if self._is_batch(queue, flush=flush)
        )
        self._last = next(ready, None) if policy is Policy.FIRST else self._fullest(ready)
        return self._last

    def _is_batch(self, queue: deque[int], *, flush: bool) -> bool:
        return len(queue) >= self.executor.batch_size or (flush and len(queue) > 0)

    def _fullest(self, ready: Iterable[Networks]) -> Networks | None:
        return max(ready, key=lambda networks: len(self._queues[networks]), default=None)
