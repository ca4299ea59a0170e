"""The memory that networks work in, one for all of a process on a GPU.

TensorRT would give each context its own, for as long as it lives: seven networks, two batches
under way and each network by itself again are 21 contexts. But networks run one after another, so
they can work in the same memory: the next waits, on the GPU, for the one before.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgeapl.engines.trt.memory import DeviceObject, GpuMemory

Lent = tuple[int, int]
"""Address and bytes."""


class Scratch:
    """Lends memory as large as the most demanding network of the process needs.

    `reserve` and `lease` are for use inside ``with memory.active():`` of any `GpuMemory`.
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._turn = threading.Lock()
        self._needs: Counter[int] = Counter()
        self._memory: GpuMemory | None = None
        self._lent: Lent = (0, 0)
        self._rested: DeviceObject | None = None

    @property
    def size(self) -> int:
        """Bytes that are reserved now."""
        return max(self._needs, default=0)

    def reserve(self, size: int) -> None:
        """Reserve so many bytes for a network, until `release`. Raises the driver's error."""
        with self._turn:
            self._needs[size] += 1
            try:
                self._make()
            except BaseException:
                self._forget(size)
                raise

    def release(self, size: int) -> None:
        """End a reservation; the last one frees everything. Raises the driver's error."""
        with self._turn:
            self._forget(size)

    @contextmanager
    def lease(self, stream: DeviceObject) -> Iterator[Lent]:
        """Lend it to what is started inside on a stream, after all that was started elsewhere."""
        with self._turn:
            self._make()
            assert self._rested is not None
            stream.raw.wait_for_event(self._rested.raw)
            try:
                yield self._lent
            finally:
                self._rested.raw.record(stream.raw)

    def _make(self) -> None:
        """Allocate what is reserved; free the old memory when its last work is over."""
        if self._memory is None:
            self._memory = GpuMemory(self._driver)
        if self._rested is None:
            with self._memory.active():
                self._rested = self._memory.event()
        old, size = self._lent, self.size
        if self._rested is not None and old[1] < size:
            with self._memory.active():
                self._lent = (0, 0)
                if old[1]:
                    self._rested.raw.synchronize()
                    self._memory.leave_room(old[0])
                self._lent = (self._memory.room(size), size)

    def _forget(self, size: int) -> None:
        self._needs -= Counter([size])
        memory = self._memory
        if not self._needs and memory is not None:
            self._memory, self._lent, self._rested = None, (0, 0), None
            memory.close()
