"""Reads a file once, and only if it is a regular file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.wording.printable import printable

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def read_plain_file(path: Path, max_bytes: int) -> bytes:
    """Read all bytes of a regular file without ever waiting for a pipe or device.

    Parameters
    ----------
    path : the file; a link to a regular file is followed.
    max_bytes : a larger file is refused before it is read.

    Raises InputError when it is missing, not a regular file, unreadable, empty, too large, or
    changed while it was read.
    """
    with _one_line(path):
        _check_kind(path.stat(), path)  # before opening: opening a device can have effects
        # O_NONBLOCK: a pipe put in its place after the check must not block us.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            return _read_all(handle, path, max_bytes)
        finally:
            os.close(handle)


def check_plain_file(path: Path) -> None:
    """Raise InputError when a path is missing or not a regular file; nothing is opened."""
    with _one_line(path):
        _check_kind(path.stat(), path)


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Turn the system's errors about a path into an InputError."""
    name = printable(path)
    try:
        yield
    except FileNotFoundError as error:
        if path.is_symlink():
            raise InputError("link leads nowhere", name, "correct or remove the link") from error
        raise InputError("file does not exist", name, "check the path") from error
    except PermissionError as error:
        raise InputError("no permission to read", name, "allow reading it") from error
    except OSError as error:
        reason = printable(error.strerror or error)
        raise InputError(
            f"cannot be read ({reason})", name, "check the file and its disk"
        ) from error
    except ValueError as error:  # a NUL in the path
        raise InputError("not a file name", name, "check the path") from error


def _check_kind(status: os.stat_result, path: Path) -> None:
    name = printable(path)
    if stat.S_ISREG(status.st_mode):
        return
    if stat.S_ISDIR(status.st_mode):
        if not os.access(path, os.R_OK | os.X_OK):
            raise InputError("no permission to look into folder", name, "allow reading it")
        raise InputError("a folder, not an image", name, "rename it or take it out")
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "not a plain file")
    raise InputError(f"{kind}, not an image", name, "take it out of the folder")


def _read_all(handle: int, path: Path, max_bytes: int) -> bytes:
    name = printable(path)
    before = os.fstat(handle)
    _check_kind(before, path)
    if before.st_size > max_bytes:
        found = f"{before.st_size / 2**20:.0f} MiB"
        mend = f"give a file of at most {max_bytes // 2**20} MiB"
        raise InputError(f"file is too large ({found})", name, mend)
    parts = []
    left = before.st_size + 1  # one more, to notice that it grows
    while left > 0 and (part := os.read(handle, min(left, 1 << 24))):
        parts.append(part)
        left -= len(part)
    data = b"".join(parts)
    after = os.fstat(handle)
    stamps = [(status.st_size, status.st_mtime_ns) for status in (before, after)]
    if stamps[0] != stamps[1] or len(data) != before.st_size:
        raise InputError("file changed while it was read", name, "wait until it is written")
    if not data:
        raise InputError("file is empty", name, "copy it again")
    return data
