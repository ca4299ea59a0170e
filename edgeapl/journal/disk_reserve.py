"""Disk space reserved for one more verdict and released when the disk is full."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

RESERVE_BYTES = 2 << 20
"""A verdict of 1,000 frames takes about 0.2 MB, plus the log, its index and the anchor."""


def allocate_reserve(path: Path, size: int) -> None:
    """Make the reserve as large as asked. Raises OSError when there is no space."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        have = os.fstat(file).st_size
        if have < size:
            try:
                _fill(file, have, size)
            except OSError:
                os.ftruncate(file, have)  # a partial reserve must not take the last free space
                raise
    finally:
        os.close(file)


def release_reserve(path: Path) -> bool:
    """Free the space. Returns False when there was none to free."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def disk_is_full(error: sqlite3.Error | OSError) -> bool:
    """Return whether an error means that the disk is full."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return "disk is full" in str(error)


def _fill(file: int, have: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, have, size - have)
    else:
        os.lseek(file, have, os.SEEK_SET)
        while have < size:
            have += os.write(file, bytes(size - have))
