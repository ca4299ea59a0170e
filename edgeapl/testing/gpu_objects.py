"""The objects that pycuda's driver hands out: streams, events, memory, a context and devices.

Each passes what it is asked on to the driver that made it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeapl.testing.streams import EventState

if TYPE_CHECKING:
    from edgeapl.testing.gpu import FakeDriver

MILLISECONDS = 1.0
"""Between any two events."""

BLOCKING_SYNC, DISABLE_TIMING = 1, 2
"""Flags of events."""

INTEGRATED = 18
"""The attribute of a device that shares the processor's memory."""


class FakeError(Exception):
    """What pycuda.driver calls Error."""


class FakeStream:
    """Work in order."""

    def __init__(self, driver: FakeDriver, handle: int) -> None:
        self.handle = handle
        self._driver = driver

    def synchronize(self) -> None:
        """Wait for all its work."""
        self._driver.synchronize(self.handle)

    def wait_for_event(self, event: FakeEvent) -> None:
        """Hold further work until the event."""
        self._driver.wait_for_event(self.handle, event.number, event.state)


class FakeEvent:
    """A point in the work of a stream."""

    def __init__(self, driver: FakeDriver, number: int, flags: int) -> None:
        self.number = number
        self.flags = flags
        self.state = EventState()
        self._driver = driver

    def record(self, stream: FakeStream) -> None:
        """Put the event on a stream."""
        self._driver.record_event(self.number, self.state, stream.handle)

    def synchronize(self) -> None:
        """Wait for the event."""
        sleeps = bool(self.flags & BLOCKING_SYNC)
        self._driver.synchronize_event(self.number, self.state, sleeps=sleeps)

    def time_till(self, later: FakeEvent) -> float:
        """Return ms from this event to a later one."""
        if (self.flags | later.flags) & DISABLE_TIMING:
            raise FakeError("time_till failed: event was made without time")
        if not (self.state.fired and later.state.fired):
            raise FakeError("time_till failed: event was not reached")
        return MILLISECONDS


class FakeAllocation:
    """Memory of the GPU."""

    def __init__(self, driver: FakeDriver, address: int) -> None:
        self._driver = driver
        self._address = address

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        """Free it."""
        self._driver.free("device", self._address)


class FakePinned:
    """Page-locked memory of the host, as an array."""

    def __init__(
        self, driver: FakeDriver, count: int, dtype: np.dtype[Any], *, mapped: bool
    ) -> None:
        self._driver = driver
        self._mapped = mapped
        self._seen = 0
        self._bytes = np.full(count * dtype.itemsize, 0x5A, np.uint8)
        self.__array_interface__ = {
            "version": 3,
            "shape": (count,),
            "typestr": dtype.str,
            "data": (self._bytes.ctypes.data, False),
        }

    def get_device_pointer(self) -> int:
        """Return the address under which the GPU sees it."""
        if not self._mapped:
            raise FakeError("get_device_pointer failed: memory is not mapped")
        self._seen = self._seen or self._driver.map(self._bytes)
        return self._seen

    def free(self) -> None:
        """Free it."""
        self._driver.free("host", self._bytes.ctypes.data)
        if self._seen:
            self._driver.unmap(self._seen)


class FakeContext:
    """The context of the GPU, pushed on threads."""

    def __init__(self, driver: FakeDriver) -> None:
        self._driver = driver

    def push(self) -> None:
        """Make it the calling thread's."""
        self._driver.record("push", needs_context=False)
        self._driver.push_here()

    def pop(self) -> None:
        """Take it from the calling thread."""
        self._driver.pop_here()
        self._driver.record("pop", needs_context=False)

    def detach(self) -> None:
        """Take it from the calling thread for good."""
        self._driver.record("detach")
        self._driver.pop_here()
        self._driver.live["context"] -= 1


def device_class(driver: FakeDriver) -> type:
    """Return the class of the GPUs of a driver."""

    class Device:
        def __init__(self, index: int) -> None:
            if not 0 <= index < driver.gpus:
                raise FakeError("invalid device ordinal")
            self._index = index

        @staticmethod
        def count() -> int:
            return driver.gpus

        def name(self) -> str:
            return driver.name

        def compute_capability(self) -> tuple[int, int]:
            return driver.capability

        def get_attribute(self, which: int) -> int:
            assert which == INTEGRATED
            return int(driver.integrated)

        def retain_primary_context(self) -> FakeContext:
            driver.record("retain_primary_context", needs_context=False)
            driver.used.add(self._index)
            driver.live["context"] += 1
            return FakeContext(driver)

    return Device
