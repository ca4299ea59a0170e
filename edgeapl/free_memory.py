"""What the C library does with memory that was freed: glibc's can be told, others do as they do."""

from __future__ import annotations

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers that glibc's malloc.h gives to these settings."""

KEPT = 32 << 20
"""Bytes of the largest piece that is kept: what glibc by itself comes to with large pieces."""


def return_free_memory() -> None:
    """Hand freed memory back to the system.

    After networks were opened hundreds of megabytes are left in pieces.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def reuse_free_memory() -> None:
    """Keep freed memory for the next images, whatever MALLOC_TRIM_THRESHOLD_ says.

    Dask sets it low for its workers, so that every image is taken anew from the system: a slide
    took 40 % more of the processor.
    """
    with suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_THRESHOLD, KEPT)
        library.mallopt(TRIM_THRESHOLD, 2 * KEPT)
