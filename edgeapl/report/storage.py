"""Writing results so that a fault is one clear error and a half-written file is never seen."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from edgeapl.errors import StorageError
from edgeapl.wording.printable import printable

_MENDS = {
    errno.ENOSPC: "the disk is full: free some space and run it again",
    errno.EDQUOT: "the quota is used up: free some space and run it again",
    errno.EFBIG: "the file grew too large for this disk: choose another folder with --out",
    errno.EROFS: "the disk is read-only: choose another folder with --out",
    errno.EACCES: "no permission to write there: choose another folder with --out",
    errno.EPERM: "no permission to write there: choose another folder with --out",
}


@contextmanager
def storing(which: Path) -> Iterator[None]:
    """Turn a fault of the disk into a StorageError that names the file."""
    try:
        yield
    except OSError as error:
        path = error.filename if isinstance(error.filename, str) else which
        mend = _MENDS.get(error.errno or 0, str(error.strerror or error))
        raise StorageError("result cannot be written", printable(str(path)), mend) from error


def write_new(path: Path, content: bytes) -> None:
    """Write a file that must not exist yet. Raises StorageError."""
    with storing(path), path.open("xb") as file:
        file.write(content)


def write_new_synced(path: Path, content: bytes) -> None:
    """Write a file that must not exist yet and wait until the disk has it. Raises StorageError."""
    with storing(path), path.open("xb") as file:
        file.write(content)
        sync(file)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that atomically replaces `path` when the block ends without an error."""
    part = path.with_name(path.name + ".partial")
    with storing(path):
        try:
            with part.open("wb") as file:
                yield file
                sync(file)
            part.replace(path)
            sync_folder(path.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def sync(file: IO[bytes]) -> None:
    """Wait until the disk has all of an open file."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
