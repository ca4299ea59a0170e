"""A GPU made of host memory, behind the interface of pycuda's driver."""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeapl.testing.gpu_log import Work
from edgeapl.testing.gpu_objects import (
    BLOCKING_SYNC,
    DISABLE_TIMING,
    INTEGRATED,
    FakeAllocation,
    FakeContext,
    FakeError,
    FakeEvent,
    FakePinned,
    FakeStream,
    device_class,
)
from edgeapl.testing.streams import EventState, Streams

_Given = ParamSpec("_Given")
_Got = TypeVar("_Got")


def _one_at_a_time(method: Callable[_Given, _Got]) -> Callable[_Given, _Got]:
    """Let one thread at a time into the methods of a driver."""

    @functools.wraps(method)
    def alone(*args: _Given.args, **more: _Given.kwargs) -> _Got:
        driver: Any = args[0]
        with driver._turn:
            return method(*args, **more)

    return alone


class FakeDriver:
    """Stands in for the module ``pycuda.driver``: one GPU made of host memory.

    Work on a stream is kept and done only when it is waited for, with the bytes that are in memory
    by then, as on a GPU: code that reads or writes too early gets wrong numbers. Streams depend on
    each other through events alone. Every call but those that ask for the device needs a pushed
    context.

    Parameters
    ----------
    name, capability : of the GPU. integrated : it shares the processor's memory.
    capacity : bytes of memory on the GPU.
    fail_on : name of a call to its number, from 0, that raises `FakeDriver.Error`.

    calls : names of all calls so far. log : all that was asked of streams and events.
    live : what was taken and not given back, by kind. taken, most_taken : bytes on the GPU, now and
    at most so far. gpus : how many there are, all alike. used : numbers of those that were.
    """

    event_flags = SimpleNamespace(BLOCKING_SYNC=BLOCKING_SYNC, DISABLE_TIMING=DISABLE_TIMING)
    host_alloc_flags = SimpleNamespace(DEVICEMAP=2)
    device_attribute = SimpleNamespace(INTEGRATED=INTEGRATED)
    Error = FakeError

    def __init__(
        self,
        name: str = "Fake GPU",
        capability: tuple[int, int] = (8, 7),
        fail_on: Mapping[str, int] | None = None,
        *,
        integrated: bool = False,
        capacity: int = 8 << 30,
    ) -> None:
        self.name = name
        self.capability = capability
        self.integrated = integrated
        self.capacity = capacity
        self.taken = self.most_taken = 0
        self.fail_on = dict(fail_on or {})
        self.calls: list[str] = []
        self.log: list[Work] = []
        self.live: Counter[str] = Counter()
        self._contexts: list[int] = []
        self._counts: Counter[str] = Counter()
        self._memory: dict[int, NDArray[np.uint8]] = {}
        self._locked: dict[int, int] = {}
        self._next = 0x1000
        # The real driver may be called from several threads at once.
        self._turn = threading.RLock()
        self._streams = Streams()
        self._numbers: dict[int, int] = {}
        self._events = 0
        self._ahead: frozenset[int] = frozenset()
        self.gpus = 1
        self.used: set[int] = set()
        self.Device = device_class(self)
        self.Context = FakeContext(self)

    def init(self) -> None:
        """Start."""
        self.record("init", needs_context=False)

    def get_driver_version(self) -> int:
        """CUDA 12.6."""
        return 12060

    @_one_at_a_time
    def Stream(self) -> FakeStream:  # noqa: N802 - pycuda's name
        """Make a stream."""
        self.record("Stream")
        handle = self._address(1)
        self._streams.add(handle)
        self._numbers[handle] = len(self._numbers)
        self._send_ahead()
        return FakeStream(self, handle)

    @_one_at_a_time
    def Event(self, flags: int = 0) -> FakeEvent:  # noqa: N802 - pycuda's name
        """Make an event."""
        self.record("Event")
        self._events += 1
        return FakeEvent(self, self._events - 1, flags)

    @_one_at_a_time
    def mem_get_info(self) -> tuple[int, int]:
        """Return the bytes that are free, and all."""
        self.record("mem_get_info")
        return self.capacity - self.taken, self.capacity

    @_one_at_a_time
    def pagelocked_empty(
        self, shape: int, dtype: np.dtype[Any], *, mem_flags: int = 0
    ) -> NDArray[np.generic]:
        """Take host memory whose base can be freed."""
        self.record("pagelocked_empty")
        self.live["host"] += 1
        made = np.asarray(FakePinned(self, shape, dtype, mapped=bool(mem_flags)))
        self._locked[made.ctypes.data] = made.nbytes
        return made

    @_one_at_a_time
    def map(self, data: NDArray[np.uint8]) -> int:
        """Return the address under which the GPU sees memory of the host."""
        address = self._address(data.size)
        self._memory[address] = data
        return address

    @_one_at_a_time
    def unmap(self, address: int) -> None:
        """End what `map` did."""
        del self._memory[address]

    @_one_at_a_time
    def mem_alloc(self, size: int) -> FakeAllocation:
        """Take device memory."""
        self.record("mem_alloc")
        if self.taken + size > self.capacity:
            raise FakeError("mem_alloc failed: out of memory")
        self.live["device"] += 1
        self.taken += size
        self.most_taken = max(self.most_taken, self.taken)
        address = self._address(size)
        # Fresh memory of a GPU holds anything.
        self._memory[address] = np.full(size, 0x5A, np.uint8)
        return FakeAllocation(self, address)

    def memcpy_htod_async(self, to: int, source: NDArray[np.generic], stream: FakeStream) -> None:
        """Copy to the device, later."""
        data = source.view(np.uint8)
        self._note("memcpy_htod_async", stream, data.size, locked=self._is_locked(data))
        self._put(stream, lambda: self._write(to, data))

    def memcpy_dtoh_async(self, to: NDArray[np.generic], source: int, stream: FakeStream) -> None:
        """Copy from the device, later."""
        data = to.view(np.uint8)
        self._note("memcpy_dtoh_async", stream, data.size, locked=self._is_locked(data))

        def copy() -> None:
            data[:] = self.memory(source)[: data.size]

        self._put(stream, copy)

    def memcpy_dtod_async(self, to: int, source: int, size: int, stream: FakeStream) -> None:
        """Copy within the device, later."""
        self._note("memcpy_dtod_async", stream, size)
        self._put(stream, lambda: self._write(to, self.memory(source)[:size]))

    def memset_d8_async(self, to: int, byte: int, count: int, stream: FakeStream) -> None:
        """Fill device memory, later."""
        self._note("memset_d8_async", stream, count)
        self._put(stream, lambda: self._write(to, np.full(count, byte, np.uint8)))

    @_one_at_a_time
    def memory(self, address: int) -> NDArray[np.uint8]:
        """Return the bytes from an address on, for fake libraries that compute there."""
        for start, data in self._memory.items():
            if start <= address < start + data.size:
                return data[address - start :]
        raise FakeError(f"illegal address {address:#x}")

    @_one_at_a_time
    def enqueue(self, stream: int, work: Callable[[], None]) -> None:
        """Put work on a stream."""
        self.log.append(Work("enqueue", self._numbers[stream]))
        self._streams.put(stream, work)

    @_one_at_a_time
    def run_ahead(self, *numbers: int) -> None:
        """Let these streams, numbered as they were made, do their work at once."""
        self._ahead = frozenset(numbers)
        self._send_ahead()

    @_one_at_a_time
    def record(self, call: str, *, needs_context: bool = True) -> None:
        """Record a call, and fail it if told to."""
        self.calls.append(call)
        number = self._counts[call]
        self._counts[call] += 1
        if self.fail_on.get(call) == number:
            raise FakeError(f"{call} failed: told to by the test")
        if needs_context and threading.get_ident() not in self._contexts:
            raise FakeError(f"{call} failed: invalid device context")

    @property
    def contexts(self) -> tuple[int, ...]:
        """The threads on which a context is pushed, once for every push."""
        return tuple(self._contexts)

    @_one_at_a_time
    def push_here(self) -> None:
        """Make the context this thread's."""
        self._contexts.append(threading.get_ident())

    @_one_at_a_time
    def pop_here(self) -> None:
        """Take the context from this thread."""
        self._contexts.remove(threading.get_ident())

    @_one_at_a_time
    def free(self, kind: str, address: int) -> None:
        """Free what was allocated."""
        self.record(f"free_{kind}")
        if kind == "device":
            self.taken -= self._memory.pop(address).size
        else:
            del self._locked[address]
        self.live[kind] -= 1

    @_one_at_a_time
    def synchronize(self, stream: int) -> None:
        """Do all work of a stream."""
        self.record("synchronize")
        self.log.append(Work("synchronize", self._numbers[stream], sleeps=False))
        self._streams.drain(stream)

    @_one_at_a_time
    def record_event(self, event: int, state: EventState, stream: int) -> None:
        """Put an event on a stream."""
        self.record("event_record")
        self.log.append(Work("event_record", self._numbers[stream], event))
        self._streams.record(state, stream)

    @_one_at_a_time
    def wait_for_event(self, stream: int, event: int, state: EventState) -> None:
        """Let a stream wait for an event."""
        self.record("wait_for_event")
        self.log.append(Work("wait_for_event", self._numbers[stream], event))
        self._streams.hold(stream, state)

    @_one_at_a_time
    def synchronize_event(self, event: int, state: EventState, *, sleeps: bool = True) -> None:
        """Do all that must be done before an event."""
        self.record("event_synchronize")
        self.log.append(Work("event_synchronize", event=event, sleeps=sleeps))
        self._streams.reach(state)

    @_one_at_a_time
    def _note(self, call: str, stream: FakeStream, size: int, *, locked: bool = True) -> None:
        self.record(call)
        number = self._numbers[stream.handle]
        self.log.append(Work(call, number, size=int(size), locked=locked))

    @_one_at_a_time
    def _put(self, stream: FakeStream, work: Callable[[], None]) -> None:
        self._streams.put(stream.handle, work)

    def _send_ahead(self) -> None:
        self._streams.ahead = [
            handle for handle, number in self._numbers.items() if number in self._ahead
        ]

    def _is_locked(self, data: NDArray[np.uint8]) -> bool:
        start = data.ctypes.data
        return any(
            first <= start and start + data.nbytes <= first + size
            for first, size in self._locked.items()
        )

    def _address(self, size: int) -> int:
        # TensorRT takes addresses that are multiples of 256 alone, as the driver gives them.
        address = self._next
        self._next += -(-(size + 0x1000) // 256) * 256
        return address

    @_one_at_a_time
    def _write(self, address: int, data: NDArray[np.uint8]) -> None:
        self.memory(address)[: data.size] = data
