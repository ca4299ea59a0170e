"""Memory that two processes share: it grows, has no name, and is gone with the last of them."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
"""Bytes; a line of the cache, and what vector instructions of runtimes like best."""

STEP_BYTES = 1 << 20
"""Memory grows by whole steps, so that batches of nearly the same size do not map it anew."""

NUMBERS = "biuf"
"""Kinds of numpy types that may pass: truth values, integers and floating point."""


@dataclass(frozen=True, slots=True)
class ArrayPlace:
    """Where an array lies. dtype : numpy's name. offset : bytes from the start of the memory."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


class SharedMemory:
    """One piece of shared memory; one process at a time writes it, then the other reads.

    Parameters
    ----------
    descriptor : of `nameless_file`, own or inherited; `close` closes it.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, 0)

    @classmethod
    def create(cls, name: str) -> SharedMemory:
        """Create new memory; raises OSError when there is none. name : as of `nameless_file`."""
        descriptor = nameless_file(name)
        try:
            os.ftruncate(descriptor, STEP_BYTES)
            return cls(descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def put(self, arrays: Mapping[str, NDArray[np.generic]]) -> tuple[ArrayPlace, ...]:
        """Copy arrays into it, and grow it where needed.

        Raises MemoryError when it cannot grow, TypeError for arrays of anything but numbers.
        """
        places, end = [], 0
        for name, array in arrays.items():
            if array.dtype.kind not in NUMBERS:
                raise TypeError(f"{name}: {array.dtype}")
            places.append(ArrayPlace(name, array.dtype.name, array.shape, end))
            end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        self._grow(end)
        for place in places:
            np.copyto(self._view(place), arrays[place.name])
        return tuple(places)

    def take(self, places: tuple[ArrayPlace, ...]) -> dict[str, NDArray[np.generic]]:
        """Return arrays that lie in it, as views.

        Raises ValueError when a place is not inside the memory.
        """
        size = os.fstat(self.descriptor).st_size
        if size > len(self._map):
            self._map = mmap.mmap(self.descriptor, size)
        return {place.name: self._view(place) for place in places}

    def close(self) -> None:
        """Let go of the memory now, not when this object is collected; only once."""
        with suppress(BufferError):  # an error that is being handled still holds a view
            self._map.close()
        os.close(self.descriptor)

    def _grow(self, size: int) -> None:
        if size <= len(self._map):
            return
        size = -(-size // STEP_BYTES) * STEP_BYTES
        try:
            if hasattr(os, "posix_fallocate"):
                # Reserved, not only promised: a write without memory would end the process.
                os.posix_fallocate(self.descriptor, 0, size)
            else:  # macOS
                os.ftruncate(self.descriptor, size)
            self._map = mmap.mmap(self.descriptor, size)
        except OSError as error:
            raise MemoryError(f"{size >> 20} MiB: {error.strerror}") from error

    def _view(self, place: ArrayPlace) -> NDArray[np.generic]:
        try:
            dtype = np.dtype(place.dtype)
        except TypeError as error:
            raise ValueError(f"no array of the shared memory: {place}") from error
        count = math.prod(place.shape)
        inside = 0 <= place.offset <= len(self._map) - count * dtype.itemsize
        if dtype.kind not in NUMBERS or min(place.shape, default=0) < 0 or not inside:
            raise ValueError(f"no array of the shared memory: {place}")
        return np.ndarray(place.shape, dtype, self._map, place.offset)


def nameless_file(name: str) -> int:
    """Return the descriptor of an empty file in memory, freed when the last process closes it.

    Where Linux's memfd is missing, it lies in the folder for temporary files.

    Parameters
    ----------
    name : shown among a process's open files, nowhere else.
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
