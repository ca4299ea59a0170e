"""Stand-ins for clocks, sources, engines and GPUs, for tests of code that uses EdgeAPL."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.closing import ClosesItself
from edgeapl.errors import EdgeAplError, EndOfSource, EngineError
from edgeapl.protocols import Arrays
from edgeapl.types import Frame


class FakeClock:
    """Implements Clock without waiting: time moves only when somebody sleeps or `move` is called.

    naps : every sleep so far, seconds.
    """

    def __init__(self, start_ns: int = 0) -> None:
        self._now = start_ns
        self.naps: list[float] = []

    def monotonic_ns(self) -> int:
        """Give the time that was made."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move time on at once."""
        self.naps.append(seconds)
        self.move(seconds)

    def move(self, seconds: float) -> None:
        """Move time on."""
        self._now += int(seconds * 1e9)


class ScriptedSource(ClosesItself):
    """Implements FrameSource from a list: frames are given, errors are raised, then it ends.

    closed : whether `close` was called.
    """

    def __init__(
        self, script: Iterable[Frame | EdgeAplError], *, live: bool = False, name: str = "script"
    ) -> None:
        self.live = live
        self.name = name
        self.closed = False
        self._script = iter(script)

    def read(self, timeout_s: float) -> Frame:
        """Give or raise the next item."""
        if self.closed:
            raise EndOfSource
        try:
            item = next(self._script)
        except StopIteration:
            raise EndOfSource from None
        if isinstance(item, EdgeAplError):
            raise item
        return item

    def close(self) -> None:
        """End the script."""
        self.closed = True


class FakeEngine:
    """Implements Engine with a Python function.

    Parameters
    ----------
    function : from named input arrays to named output arrays.
    inputs : input name to (numpy dtype name, shape), None for a free dimension.
    outputs : output names.
    fail_on : numbers of the runs, from 0, that raise EngineError.
    """

    runtime = "fake engine"
    digest = "0" * 64

    def __init__(
        self,
        function: Callable[[Arrays], Mapping[str, NDArray[np.generic]]],
        inputs: Mapping[str, tuple[str, tuple[int | None, ...]]],
        outputs: tuple[str, ...],
        fail_on: Iterable[int] = (),
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.runs = 0
        self.closed = False
        self._function = function
        self._fail_on = frozenset(fail_on)

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Call the function, or fail as told."""
        number = self.runs
        self.runs += 1
        if self.closed or number in self._fail_on:
            raise EngineError("engine failed", f"run {number}", "told to by the test")
        if set(inputs) != set(self.inputs):
            raise EngineError("inputs do not fit", sorted(inputs), f"give {sorted(self.inputs)}")
        return {name: np.array(value) for name, value in self._function(inputs).items()}

    def close(self) -> None:
        """Refuse all further runs."""
        self.closed = True


class FakeDriver:
    """Stands in for the module ``pycuda.driver``: one GPU made of host memory.

    Work on a stream is kept and done only when the stream is waited for, with the bytes that are
    in memory by then, as on a GPU: who reads too early, or writes too early, gets wrong numbers.
    Every call but those that ask for the device needs a pushed context.

    Parameters
    ----------
    name, capability : of the GPU.
    fail_on : name of a call to its number, from 0, that raises `FakeDriver.Error`.

    calls : names of all calls so far. live : what was taken and not given back, by kind.
    """

    class Error(Exception):
        """What pycuda.driver calls Error."""

    def __init__(
        self,
        name: str = "Fake GPU",
        capability: tuple[int, int] = (8, 7),
        fail_on: Mapping[str, int] | None = None,
    ) -> None:
        self.name = name
        self.capability = capability
        self.fail_on = dict(fail_on or {})
        self.calls: list[str] = []
        self.live: Counter[str] = Counter()
        self._contexts: list[int] = []
        self._counts: Counter[str] = Counter()
        self._memory: dict[int, NDArray[np.uint8]] = {}
        self._next = 0x1000
        self._waiting: dict[int, list[Callable[[], None]]] = {}
        self.Device = _devices(self)
        self.Context = _FakeContext(self)

    def init(self) -> None:
        """Start."""
        self.record("init", needs_context=False)

    def get_driver_version(self) -> int:
        """CUDA 12.6."""
        return 12060

    def Stream(self) -> _FakeStream:  # noqa: N802 - pycuda's name
        """Make a stream."""
        self.record("Stream")
        return _FakeStream(self, self._address(1))

    def pagelocked_empty(self, shape: int, dtype: np.dtype[Any]) -> NDArray[np.generic]:
        """Take host memory whose base can be freed."""
        self.record("pagelocked_empty")
        self.live["host"] += 1
        return np.asarray(_FakePinned(self, shape, dtype))

    def mem_alloc(self, size: int) -> _FakeAllocation:
        """Take device memory."""
        self.record("mem_alloc")
        self.live["device"] += 1
        address = self._address(size)
        # What a GPU's memory holds at first is anybody's guess.
        self._memory[address] = np.full(size, 0x5A, np.uint8)
        return _FakeAllocation(self, address)

    def memcpy_htod_async(self, to: int, source: NDArray[np.generic], stream: _FakeStream) -> None:
        """Copy to the device, later."""
        self.record("memcpy_htod_async")
        data = source.view(np.uint8)
        self.enqueue(stream.handle, lambda: self._write(to, data))

    def memcpy_dtoh_async(self, to: NDArray[np.generic], source: int, stream: _FakeStream) -> None:
        """Copy from the device, later."""
        self.record("memcpy_dtoh_async")
        data = to.view(np.uint8)

        def copy() -> None:
            data[:] = self.memory(source)[: data.size]

        self.enqueue(stream.handle, copy)

    def memset_d8_async(self, to: int, byte: int, count: int, stream: _FakeStream) -> None:
        """Fill device memory, later."""
        self.record("memset_d8_async")
        self.enqueue(stream.handle, lambda: self._write(to, np.full(count, byte, np.uint8)))

    def memory(self, address: int) -> NDArray[np.uint8]:
        """Give the bytes at an address, for stand-ins of libraries that compute on the GPU."""
        if address not in self._memory:
            raise FakeDriver.Error(f"illegal address {address:#x}")
        return self._memory[address]

    def enqueue(self, stream: int, work: Callable[[], None]) -> None:
        """Put work on a stream."""
        self._waiting[stream].append(work)

    def record(self, call: str, *, needs_context: bool = True) -> None:
        """Write a call down, and fail it if told to."""
        self.calls.append(call)
        number = self._counts[call]
        self._counts[call] += 1
        if self.fail_on.get(call) == number:
            raise FakeDriver.Error(f"{call} failed: told to by the test")
        if needs_context and threading.get_ident() not in self._contexts:
            raise FakeDriver.Error(f"{call} failed: invalid device context")

    @property
    def contexts(self) -> tuple[int, ...]:
        """The threads on which a context is pushed, once for every push."""
        return tuple(self._contexts)

    def push_here(self) -> None:
        """Make the context this thread's."""
        self._contexts.append(threading.get_ident())

    def pop_here(self) -> None:
        """Take the context from this thread."""
        self._contexts.remove(threading.get_ident())

    def free(self, kind: str, address: int | None = None) -> None:
        """Give back what was taken."""
        self.record(f"free_{kind}")
        if address is not None:
            del self._memory[address]
        self.live[kind] -= 1

    def synchronize(self, stream: int) -> None:
        """Do all that waits on a stream."""
        self.record("synchronize")
        work, self._waiting[stream] = self._waiting[stream], []
        for step in work:
            step()

    def _address(self, size: int) -> int:
        address = self._next
        self._next += size + 0x1000
        self._waiting.setdefault(address, [])
        return address

    def _write(self, address: int, data: NDArray[np.uint8]) -> None:
        self.memory(address)[: data.size] = data


class _FakeStream:
    def __init__(self, driver: FakeDriver, handle: int) -> None:
        self.handle = handle
        self._driver = driver

    def synchronize(self) -> None:
        self._driver.synchronize(self.handle)


class _FakeAllocation:
    def __init__(self, driver: FakeDriver, address: int) -> None:
        self._driver = driver
        self._address = address

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        self._driver.free("device", self._address)


class _FakePinned:
    def __init__(self, driver: FakeDriver, count: int, dtype: np.dtype[Any]) -> None:
        self._driver = driver
        self._bytes = np.full(count * dtype.itemsize, 0x5A, np.uint8)
        self.__array_interface__ = {
            "version": 3,
            "shape": (count,),
            "typestr": dtype.str,
            "data": (self._bytes.ctypes.data, False),
        }

    def free(self) -> None:
        self._driver.free("host")


class _FakeContext:
    def __init__(self, driver: FakeDriver) -> None:
        self._driver = driver

    def push(self) -> None:
        self._driver.record("push", needs_context=False)
        self._driver.push_here()

    def pop(self) -> None:
        self._driver.pop_here()
        self._driver.record("pop", needs_context=False)

    def detach(self) -> None:
        self._driver.record("detach")
        self._driver.pop_here()
        self._driver.live["context"] -= 1


def _devices(driver: FakeDriver) -> type:
    class Device:
        def __init__(self, index: int) -> None:
            if index != 0:
                raise FakeDriver.Error("invalid device ordinal")

        @staticmethod
        def count() -> int:
            return 1

        def name(self) -> str:
            return driver.name

        def compute_capability(self) -> tuple[int, int]:
            return driver.capability

        def retain_primary_context(self) -> _FakeContext:
            driver.record("retain_primary_context", needs_context=False)
            driver.live["context"] += 1
            return _FakeContext(driver)

    return Device
