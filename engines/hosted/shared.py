"""Memory that two processes share: it grows, has no name, and is gone with the last of them."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.hosted.wire import ArrayPlace
from edgeapl.errors import EngineError
from edgeapl.protocols import Arrays

ALIGNMENT = 64
"""Bytes; a line of the cache, and what vector instructions of runtimes like best."""

STEP_BYTES = 1 << 20
"""Memory grows by whole steps, so that batches of nearly the same size do not map it anew."""

NUMBERS = "biuf"
"""Kinds of numpy types that may pass: truth values, integers and floating point."""


class Region:
    """One piece of shared memory; one process at a time writes it, then the other reads.

    Parameters
    ----------
    descriptor : of `make_memory`; stays owned by the caller.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, 0)

    def put(self, arrays: Arrays) -> tuple[ArrayPlace, ...]:
        """Copy arrays into it, which is grown where needed; raises EngineError if it cannot be."""
        places, end = [], 0
        for name, array in arrays.items():
            if array.dtype.kind not in NUMBERS:
                raise EngineError("type is not supported", f"{name}: {array.dtype}", "use numbers")
            places.append(ArrayPlace(name, array.dtype.name, array.shape, end))
            end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        self._grow(end)
        for place in places:
            np.copyto(self._view(place), arrays[place.name])
        return tuple(places)

    def take(self, places: tuple[ArrayPlace, ...]) -> dict[str, NDArray[np.generic]]:
        """Give arrays that lie in it, as views.

        Raises ValueError when a place is not inside the memory.
        """
        size = os.fstat(self._descriptor).st_size
        if size > len(self._map):
            self._map = mmap.mmap(self._descriptor, size)
        return {place.name: self._view(place) for place in places}

    def close(self) -> None:
        """Let go of the memory now, not when this object is collected."""
        with suppress(BufferError):  # an error that is being handled still holds a view
            self._map.close()

    def _grow(self, size: int) -> None:
        if size <= len(self._map):
            return
        size = -(-size // STEP_BYTES) * STEP_BYTES
        try:
            # Reserved, not only promised: a write without memory behind it would end the process.
            os.posix_fallocate(self._descriptor, 0, size)
            self._map = mmap.mmap(self._descriptor, size)
        except OSError as error:
            text = f"{size >> 20} MiB: {error.strerror}: use a smaller batch"
            raise EngineError("no memory to hand arrays over", "network process", text) from error

    def _view(self, place: ArrayPlace) -> NDArray[np.generic]:
        dtype = np.dtype(place.dtype)
        count = math.prod(place.shape)
        inside = 0 <= place.offset <= len(self._map) - count * dtype.itemsize
        if dtype.kind not in NUMBERS or min(place.shape, default=0) < 0 or not inside:
            raise ValueError(f"no array of the shared memory: {place}")
        return np.ndarray(place.shape, dtype, self._map, place.offset)


def make_memory(name: str) -> int:
    """Give the file descriptor of nameless memory; it is freed when the last process closes it.

    Where Linux's memfd is missing, a file without a name in the folder for temporary files.

    Parameters
    ----------
    name : shown among a process's open files, nowhere else.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create(name)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, STEP_BYTES)
    return descriptor
