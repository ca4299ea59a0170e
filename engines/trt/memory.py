"""Memory, copies and time on the GPU, through pycuda's driver interface.

Never pycuda.autoinit: it makes a context of its own, and leaves it on the thread that imported
it. Here the device's primary context, which TensorRT uses too, is pushed for each piece of work
and popped after it, so that any thread may ask.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import EngineError

UNWRITTEN = 0xFF
"""Byte that fills answers before a run: NaN as a float, -1 as an integer, never an old answer."""


def load_driver() -> Any:
    """Import ``pycuda.driver`` and start it; raises EngineError where there is no GPU."""
    try:
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


class GpuMemory:
    """Buffers and one stream in the primary context of one GPU; frees all of them in `close`.

    Methods other than `active` and `close` are for use inside ``with memory.active():``.
    """

    def __init__(self, driver: Any, index: int = 0) -> None:
        self._driver = driver
        self._context: Any = driver.Device(index).retain_primary_context()
        self._free: list[Callable[[], object]] = []
        self._stream: Any = None

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
        """The stream; it is made when it is first asked for."""
        if self._stream is None:
            self._stream = self._driver.Stream()
        return self._stream

    def buffer(self, count: int, dtype: str) -> Buffer:
        """Take room for `count` numbers on both sides."""
        host = self._driver.pagelocked_empty(count, np.dtype(dtype))
        self._free.append(host.base.free)
        device = self._driver.mem_alloc(max(host.nbytes, 1))
        self._free.append(device.free)
        return Buffer(host, device)

    def event(self) -> Any:
        """Make an event that can tell time."""
        return self._driver.Event()

    def send(self, buffer: Buffer, values: NDArray[np.generic]) -> None:
        """Start copying to the GPU; the page-locked side must rest until `wait`."""
        part = buffer.host[: values.size]
        part[:] = values.reshape(-1)
        self._driver.memcpy_htod_async(buffer.address, part, self.stream)

    def clear(self, buffer: Buffer) -> None:
        """Make both sides say that nothing was written yet."""
        buffer.host.view(np.uint8)[:] = UNWRITTEN
        size = buffer.host.nbytes
        self._driver.memset_d8_async(buffer.address, UNWRITTEN, size, self.stream)

    def fetch(self, buffer: Buffer, count: int) -> None:
        """Start copying the first `count` numbers back; they are there after `wait`."""
        self._driver.memcpy_dtoh_async(buffer.host[:count], buffer.address, self.stream)

    def wait(self) -> None:
        """Wait until all that was started is done."""
        if self._stream is not None:
            self._stream.synchronize()

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
            self._stream = None
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
