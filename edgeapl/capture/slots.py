"""Memory that two processes share: a few slots, each with room for one picture."""

from __future__ import annotations

import mmap
import os
import tempfile

import numpy as np

from edgeapl.types import UInt8

SLOTS = 3
"""One being filled, one waiting to be taken, one being copied."""

SLOT_BYTES = 256 << 20
"""Room for 89 megapixels. Memory is taken only where a picture was written."""


class Slots:
    """Both sides open the same file descriptor; nothing of it has a name in the file system.

    Parameters
    ----------
    descriptor : of `make_memory`; stays owned by the caller.
    """

    def __init__(self, descriptor: int, slots: int = SLOTS, slot_bytes: int = SLOT_BYTES) -> None:
        self._slot_bytes = slot_bytes
        self._map = mmap.mmap(descriptor, slots * slot_bytes)

    def write(self, slot: int, pixels: UInt8) -> None:
        """Put a picture, uint8 (H, W, 3), into a slot; raises ValueError when it is too large."""
        if pixels.nbytes > self._slot_bytes:
            raise ValueError(f"picture of {pixels.nbytes} bytes in a slot of {self._slot_bytes}")
        self._view(slot, pixels.shape)[...] = pixels

    def read(self, slot: int, height: int, width: int) -> UInt8:
        """Give a copy of the picture in a slot, uint8 (height, width, 3)."""
        return self._view(slot, (height, width, 3)).copy()

    def _view(self, slot: int, shape: tuple[int, ...]) -> UInt8:
        count = int(np.prod(shape))
        flat = np.frombuffer(self._map, np.uint8, count, offset=slot * self._slot_bytes)
        return flat.reshape(shape)


def make_memory(slots: int = SLOTS, slot_bytes: int = SLOT_BYTES) -> int:
    """Give the file descriptor of nameless memory; it is freed when the last process closes it.

    Where Linux's memfd is missing, a file without a name in the folder for temporary files.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("edgeapl-frames")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, slots * slot_bytes)
    return descriptor
