"""Locks a result folder, or some of its slides, for one program, and proves it writable."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeapl.errors import StorageError
from edgeapl.report.storage import storing, sync
from edgeapl.wording.printable import printable

LOCK = ".station"
TABLES = ".tables"

NO_LOCKS = "its disk has no locks: choose a folder on another disk with --out"


@dataclass(frozen=True, slots=True)
class LockRange:
    """Bytes of the lock file that stand for the slides of one program.

    start : first byte. length : number of bytes; 0 for all that follow.
    """

    start: int = 0
    length: int = 0


WHOLE_FOLDER = LockRange()


@contextmanager
def locked_folder(folder: Path, byte_range: LockRange = WHOLE_FOLDER) -> Iterator[None]:
    """Lock a result folder, or a part of its slides; creates the folder if missing.

    The lock belongs to the process: it ends with it, in whatever way, and two threads of one
    process can both have it.

    Raises StorageError when nothing can be written there, or when another program works on any of
    the same slides: both would finish what was left open and replace each other's tables.
    """
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("ab")
    with file:
        if not _locked(file.fileno(), folder, byte_range):
            mend = "end that one, or choose another folder with --out"
            which = f"{_shown(folder)}{_holder(file.fileno(), byte_range)}"
            raise StorageError("another program uses the result folder", which, mend)
        with storing(folder):
            # A full disk still accepts names, but no bytes.
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
            sync(file)
        yield


@contextmanager
def locked_tables(folder: Path, on_wait: Callable[[], None], name: str = TABLES) -> Iterator[None]:
    """Lock the tables of a result folder; waits while another program has locked them.

    on_wait : called before waiting. name : of the file that stands for what is locked.
    """
    with storing(folder):
        file = (folder / name).open("ab")
    with file:
        if not _locked(file.fileno(), folder, WHOLE_FOLDER):
            on_wait()
            _locked(file.fileno(), folder, WHOLE_FOLDER, wait=True)
        yield


@contextmanager
def locked_part(folder: Path) -> Iterator[None]:
    """Lock a result folder that is only read, if its disk allows that.

    Raises StorageError when another program works in it. Never call this for a folder that this
    process has locked.
    """
    try:
        file = (folder / LOCK).open("r+b")
    except OSError:  # of an older version, or on a disk that nobody can write to
        yield
        return
    with file:
        if not _locked(file.fileno(), folder, WHOLE_FOLDER):
            which = f"{_shown(folder)}{_holder(file.fileno(), WHOLE_FOLDER)}"
            raise StorageError("a part is still being scored", which, "wait until it has ended")
        yield


@contextmanager
def lock_if_free(folder: Path) -> Iterator[bool]:
    """Lock the result folder of an earlier station; False where a program is using it.

    Also False where that is unknown: the folder is gone, or belongs to somebody else. Never call
    this for a folder that this process has locked: closing the file would release that lock.
    """
    try:
        file = (folder / LOCK).open("r+b")
    except OSError:
        yield False
        return
    with file:
        try:
            free = _locked(file.fileno(), folder, WHOLE_FOLDER)
        except StorageError:
            free = False
        yield free


def _locked(file: int, folder: Path, byte_range: LockRange, *, wait: bool = False) -> bool:
    """Lock bytes of the file until it is closed or the process ends."""
    try:
        import fcntl  # noqa: PLC0415 - not everywhere
    except ImportError:
        return True
    try:
        # Not flock: its lock would live on in children.
        how = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
        fcntl.lockf(file, how, byte_range.length, byte_range.start)
    except (BlockingIOError, PermissionError):  # the second is what some systems say instead
        return False
    except OSError as error:
        raise StorageError("result folder cannot be locked", _shown(folder), NO_LOCKS) from error
    return True


def _holder(file: int, byte_range: LockRange) -> str:
    """Return which process has the lock, if known; on a share it may be of another machine.

    The struct is that of fcntl(2): type, whence, start, length, process.
    """
    try:
        import fcntl  # noqa: PLC0415 - not everywhere

        shape = "@hhqqi4x"
        asked = struct.pack(
            shape, fcntl.F_WRLCK, os.SEEK_SET, byte_range.start, byte_range.length, 0
        )
        kind, _, _, _, process = struct.unpack(shape, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except (ImportError, OSError, struct.error):
        return ""
    return f" (process {process})" if kind != fcntl.F_UNLCK and process > 0 else ""


def _shown(folder: Path) -> str:
    return printable(str(folder))
