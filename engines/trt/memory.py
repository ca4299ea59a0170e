"""Memory, copies and time on the GPU, through pycuda's driver interface.

Never pycuda.autoinit: it makes a context of its own, and leaves it on the thread that imported
it. Here the device's primary context, which TensorRT uses too, is pushed for each piece of work
and popped after it, so that any thread may ask.
"""

from __future__ import annotations

import importlib
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import EngineError
from edgeapl.protocols import Moved

UNWRITTEN = 0xFF
"""Byte that fills answers before a run: NaN as a float, -1 as an integer, never an old answer."""


def load_driver() -> Any:
    """Import ``pycuda.driver`` and start it; raises EngineError where there is no GPU."""
    try:
        with warnings.catch_warnings():
            # On a machine without a driver pycuda warns, in many lines, and then raises.
            warnings.simplefilter("ignore")
            driver: Any = importlib.import_module("pycuda.driver")
    except (ImportError, OSError) as error:  # OSError: no NVIDIA driver on this machine
        mend = "pip install 'edgeapl[rtx]' on a machine with an NVIDIA driver"
        raise EngineError("runtime is missing", f"pycuda ({error})", mend) from error
    try:
        driver.init()
        count = driver.Device.count()
    except driver.Error as error:
        raise EngineError("GPU can not be used", "NVIDIA driver", str(error)) from error
    if count == 0:
        raise EngineError("GPU can not be used", "none found", "choose --target onnxruntime")
    return driver


@dataclass(frozen=True, slots=True)
class Gpu:
    """What a GPU calls itself. driver : version of CUDA that the installed driver offers."""

    name: str
    compute_capability: str
    driver: str


def describe_gpu(driver: Any, index: int = 0) -> Gpu:
    """Ask a GPU for its name, compute capability and driver."""
    device = driver.Device(index)
    major, minor = device.compute_capability()
    version = int(driver.get_driver_version())
    return Gpu(device.name(), f"{major}.{minor}", f"{version // 1000}.{version % 1000 // 10}")


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """One tensor on both sides. host : page-locked, flat, largest batch; device : its address."""

    host: NDArray[np.generic]
    device: Any

    @property
    def address(self) -> int:
        """Address on the GPU."""
        return int(self.device)


@dataclass(slots=True, eq=False)
class Owned:
    """A stream or an event of pycuda, which ends with its memory, whoever still holds this."""

    raw: Any


class GpuMemory:
    """Buffers, streams and events in the primary context of one GPU; frees them in `close`.

    Methods other than `active` and `close` are for use inside ``with memory.active():``.
    """

    def __init__(self, driver: Any, index: int = 0) -> None:
        self._driver = driver
        self._context: Any = driver.Device(index).retain_primary_context()
        self._free: list[Callable[[], object]] = []
        self._streams: list[Owned] = []
        self._events: list[Owned] = []
        self._up = self._down = 0

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the context this thread's for the time being."""
        self._context.push()
        try:
            yield
        finally:
            self._driver.Context.pop()

    @property
    def stream(self) -> Any:
        """The first stream; it is made when it is first asked for."""
        return (self._streams[0] if self._streams else self.new_stream()).raw

    @property
    def moved(self) -> Moved:
        """Bytes copied so far."""
        return Moved(self._up, self._down)

    @property
    def closed(self) -> bool:
        """Whether all was freed."""
        return self._context is None

    def new_stream(self) -> Owned:
        """Make one more stream."""
        self._streams.append(Owned(self._driver.Stream()))
        return self._streams[-1]

    def buffer(self, count: int, dtype: str) -> Buffer:
        """Take room for `count` numbers on both sides."""
        host = self._driver.pagelocked_empty(count, np.dtype(dtype))
        self._free.append(host.base.free)
        device = self._driver.mem_alloc(max(host.nbytes, 1))
        self._free.append(device.free)
        return Buffer(host, device)

    def room(self, size: int) -> int:
        """Take `size` bytes on the GPU alone; gives their address."""
        device = self._driver.mem_alloc(max(size, 1))
        self._free.append(device.free)
        return int(device)

    def give_back(self, buffer: Buffer) -> None:
        """Free one buffer before the rest. Nothing that was started may still use it."""
        for free in (buffer.host.base.free, buffer.device.free):  # type: ignore[union-attr]
            self._free.remove(free)
            free()

    def event(self) -> Owned:
        """Make an event that can tell time."""
        self._events.append(Owned(self._driver.Event()))
        return self._events[-1]

    def send(
        self, buffer: Buffer, values: NDArray[np.generic], stream: Owned | None = None
    ) -> None:
        """Start copying to the GPU; the page-locked side must rest until that is done."""
        part = buffer.host[: values.size]
        part[:] = values.reshape(-1)
        self._driver.memcpy_htod_async(buffer.address, part, self._raw(stream))
        self._up += part.nbytes

    def clear(self, buffer: Buffer, stream: Owned | None = None) -> None:
        """Make both sides say that nothing was written yet."""
        buffer.host.view(np.uint8)[:] = UNWRITTEN
        size = buffer.host.nbytes
        self._driver.memset_d8_async(buffer.address, UNWRITTEN, size, self._raw(stream))

    def fetch(self, buffer: Buffer, count: int, stream: Owned | None = None) -> None:
        """Start copying the first `count` numbers back; they are there when that is done."""
        part = buffer.host[:count]
        self._driver.memcpy_dtoh_async(part, buffer.address, self._raw(stream))
        self._down += part.nbytes

    def move(self, to: int, source: int, size: int, stream: Owned) -> None:
        """Start copying within the GPU, from address to address."""
        self._driver.memcpy_dtod_async(to, source, size, stream.raw)

    def wait(self) -> None:
        """Wait until all that was started is done; goes on after an error, and raises it then."""
        first: Exception | None = None
        for stream in self._streams:
            try:
                stream.raw.synchronize()
            except self._driver.Error as error:
                first = first or error
        if first is not None:
            raise first

    def _raw(self, stream: Owned | None) -> Any:
        return self.stream if stream is None else stream.raw

    def close(self) -> None:
        """Free everything, also after errors; a second call does nothing.

        Raises the driver's first error, after all the rest was tried.
        """
        free, self._free = self._free[::-1], []
        context, self._context = self._context, None
        if context is None:
            return
        first: Exception | None = None
        context.push()
        try:
            free.insert(0, self.wait)
            for step in free:
                try:
                    step()
                except self._driver.Error as error:
                    first = first or error
            # pycuda destroys them here, while their context is this thread's.
            for owned in (*self._streams, *self._events):
                owned.raw = None
            self._streams.clear()
        finally:
            self._driver.Context.pop()
            refused = _release(context, self._driver)
        first = first or refused
        if first is not None:
            raise first


def _release(context: Any, driver: Any) -> Exception | None:
    """Give a primary context back; gives what the driver said against it.

    pycuda releases a primary context only in `detach`: one that is merely forgotten is detached
    like a context of its own making, which the driver refuses, and stays. And `detach` lets go
    only of a context that is current, and leaves it on the driver's stack for this thread. So it
    is done in a thread that ends, and its stack with it.
    """
    errors: list[Exception] = []

    def let_go() -> None:
        try:
            context.push()
            context.detach()
        except driver.Error as error:
            errors.append(error)

    thread = threading.Thread(target=let_go, name="context release")
    thread.start()
    thread.join()
    return errors[0] if errors else None
