"""Memory, copies and time on the GPU, through CUDA's driver interface as pycuda has it.

Never pycuda.autoinit: it makes a context of its own, and leaves it on the thread that imported
it. Here the device's primary context, which TensorRT uses too, is pushed for each piece of work
and popped after it, so that any thread may ask.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.protocols import TransferCounts

UNWRITTEN = 0xFF
"""Byte that fills answers before a run: NaN as a float, -1 as an integer, never an old answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """One tensor on both sides. host : page-locked, flat, largest batch; device : its address.

    mapped : both sides are one memory, as on a GPU that shares the processor's.
    """

    host: NDArray[np.generic]
    device: Any
    mapped: bool = False

    @property
    def address(self) -> int:
        """Address on the GPU."""
        return int(self.device)


@dataclass(slots=True, eq=False)
class DeviceObject:
    """A stream or an event of pycuda, which ends with its memory, even if this object does not."""

    raw: Any


@dataclass(slots=True, eq=False)
class Stream(DeviceObject):
    """A stream. over : event by which the end of all that was started is awaited."""

    over: DeviceObject


class GpuMemory:
    """Buffers, streams and events in the primary context of one GPU; frees them in `close`.

    Methods other than `active` and `close` are for use inside ``with memory.active():``.
    """

    def __init__(self, driver: Any, index: int = 0) -> None:
        self._driver = driver
        device = driver.Device(index)
        self._shared = bool(device.get_attribute(driver.device_attribute.INTEGRATED))
        self._context: Any = device.retain_primary_context()
        self._free: list[Callable[[], object]] = []
        self._rooms: dict[int, Callable[[], object]] = {}
        self._streams: list[Stream] = []
        self._events: list[DeviceObject] = []
        self._up = self._down = 0

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the context current on this thread meanwhile."""
        self._context.push()
        try:
            yield
        finally:
            self._driver.Context.pop()

    @property
    def stream(self) -> Stream:
        """The first stream, made when it is first used."""
        return self._streams[0] if self._streams else self.new_stream()

    @property
    def moved(self) -> TransferCounts:
        """Bytes copied so far."""
        return TransferCounts(self._up, self._down)

    @property
    def closed(self) -> bool:
        """Whether all was freed."""
        return self._context is None

    @property
    def unused(self) -> int:
        """Free bytes on the GPU."""
        free, _ = self._driver.mem_get_info()
        return int(free)

    def new_stream(self) -> Stream:
        """Make one more stream."""
        raw = self._driver.Stream()
        self._streams.append(Stream(raw, self.event()))
        return self._streams[-1]

    def buffer(self, count: int, dtype: str, *, read_once: bool = True) -> Buffer:
        """Allocate room for `count` numbers on both sides.

        read_once : by the GPU, and not cached there: then a GPU that shares the processor's memory
            reads what the processor wrote, and nothing is copied.
        """
        kind = np.dtype(dtype)
        if self._shared and read_once:
            flags = self._driver.host_alloc_flags.DEVICEMAP
            host = self._driver.pagelocked_empty(count, kind, mem_flags=flags)
            self._free.append(host.base.free)
            return Buffer(host, host.base.get_device_pointer(), mapped=True)
        host = self._driver.pagelocked_empty(count, kind)
        self._free.append(host.base.free)
        device = self._driver.mem_alloc(max(host.nbytes, 1))
        self._free.append(device.free)
        return Buffer(host, device)

    def room(self, size: int) -> int:
        """Allocate `size` bytes on the GPU alone; return their address."""
        device = self._driver.mem_alloc(max(size, 1))
        self._free.append(device.free)
        self._rooms[int(device)] = device.free
        return int(device)

    def leave_room(self, address: int) -> None:
        """Free what `room` took before the rest. Nothing that was started may still use it."""
        self._give(self._rooms.pop(address))

    def give_back(self, buffer: Buffer) -> None:
        """Free one buffer before the rest. Nothing that was started may still use it."""
        self._give(buffer.host.base.free)  # type: ignore[union-attr]
        if not buffer.mapped:
            self._give(buffer.device.free)

    def _give(self, free: Callable[[], object]) -> None:
        self._free.remove(free)
        free()

    def event(self, *, timed: bool = False) -> DeviceObject:
        """Make an event; a thread that waits for it sleeps and keeps no core busy.

        timed : it records the time, which costs some.
        """
        flags = self._driver.event_flags
        kind = flags.BLOCKING_SYNC | (0 if timed else flags.DISABLE_TIMING)
        self._events.append(DeviceObject(self._driver.Event(kind)))
        return self._events[-1]

    def send(
        self, buffer: Buffer, values: NDArray[np.generic], stream: DeviceObject | None = None
    ) -> None:
        """Start copying to the GPU; the page-locked side must rest until that is done.

        Where nothing is copied it must rest until all that reads it is done.
        """
        part = buffer.host[: values.size]
        part[:] = values.reshape(-1)
        if not buffer.mapped:
            self._driver.memcpy_htod_async(buffer.address, part, self._raw(stream))
            self._up += part.nbytes

    def clear(self, buffer: Buffer, stream: DeviceObject | None = None) -> None:
        """Fill both sides with values that mark them as not written."""
        buffer.host.view(np.uint8)[:] = UNWRITTEN
        if not buffer.mapped:
            size = buffer.host.nbytes
            self._driver.memset_d8_async(buffer.address, UNWRITTEN, size, self._raw(stream))

    def fetch(self, buffer: Buffer, count: int, stream: DeviceObject | None = None) -> None:
        """Start copying the first `count` numbers back; they are there when that is done."""
        if not buffer.mapped:
            part = buffer.host[:count]
            self._driver.memcpy_dtoh_async(part, buffer.address, self._raw(stream))
            self._down += part.nbytes

    def move(self, to: int, source: int, size: int, stream: DeviceObject) -> None:
        """Start copying within the GPU, from address to address."""
        self._driver.memcpy_dtod_async(to, source, size, stream.raw)

    def wait(self) -> None:
        """Wait until all that was started is done; goes on after an error, and raises it then."""
        first: Exception | None = None
        for stream in self._streams:
            try:
                stream.over.raw.record(stream.raw)
                stream.over.raw.synchronize()
            except self._driver.Error as error:
                first = first or error
        if first is not None:
            raise first

    def _raw(self, stream: DeviceObject | None) -> Any:
        return self.stream.raw if stream is None else stream.raw

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
    """Release a primary context; return the driver's error, if any.

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
