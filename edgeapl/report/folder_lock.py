"""A result folder taken by one program at a time, or in parts, and known to be writable."""

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
class Stretch:
    """Bytes of the lock file that stand for the slides one program works on.

    start : first byte. length : 0 for all that follow.
    """

    start: int = 0
    length: int = 0


EVERYTHING = Stretch()


@contextmanager
def claimed(folder: Path, stretch: Stretch = EVERYTHING) -> Iterator[None]:
    """Hold a result folder, made if missing, or a part of its slides.

    The kernel holds the lock for this process: it ends with the process, however that ends, and
    two threads of one process can both have it.

    Raises StorageError at once when nothing can be written there, or when another program works on
    any of the same slides: both would finish what was left open, and each replace the other's
    tables.
    """
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("ab")
    with file:
        if not _locked(file.fileno(), folder, stretch):
            mend = "end that one, or choose another folder with --out"
            which = f"{_shown(folder)}{_holder(file.fileno(), stretch)}"
            raise StorageError("another program uses the result folder", which, mend)
        with storing(folder):
            # A disk that is full takes names, but no bytes.
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
            sync(file)
        yield


@contextmanager
def in_turn(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the tables of a result folder; other programs wait until it is their turn.

    on_wait : told when somebody else has them.
    """
    with storing(folder):
        file = (folder / TABLES).open("ab")
    with file:
        if not _locked(file.fileno(), folder, EVERYTHING):
            on_wait()
            _locked(file.fileno(), folder, EVERYTHING, wait=True)
        yield


@contextmanager
def held_by_nobody(folder: Path) -> Iterator[bool]:
    """Hold a result folder of an earlier station meanwhile; False where one is at work in it.

    Also where it cannot be told: the folder is gone, or belongs to somebody else. Never ask for a
    folder that this process has claimed: closing the file again would give it up.
    """
    try:
        file = (folder / LOCK).open("r+b")
    except OSError:
        yield False
        return
    with file:
        try:
            free = _locked(file.fileno(), folder, EVERYTHING)
        except StorageError:
            free = False
        yield free


def _locked(file: int, folder: Path, stretch: Stretch, *, wait: bool = False) -> bool:
    """Lock bytes of the file for this process, until it is closed or the process is gone."""
    try:
        import fcntl  # noqa: PLC0415 - not everywhere
    except ImportError:
        return True
    try:
        # Not flock: its lock would live on in children.
        how = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)
        fcntl.lockf(file, how, stretch.length, stretch.start)
    except (BlockingIOError, PermissionError):  # the second is what some systems say instead
        return False
    except OSError as error:
        raise StorageError("result folder cannot be locked", _shown(folder), NO_LOCKS) from error
    return True


def _holder(file: int, stretch: Stretch) -> str:
    """Say which process has the lock, where Linux tells; on a share it may be of another machine.

    The struct is that of fcntl(2): type, whence, start, length, process.
    """
    try:
        import fcntl  # noqa: PLC0415 - not everywhere

        shape = "@hhqqi4x"
        asked = struct.pack(shape, fcntl.F_WRLCK, os.SEEK_SET, stretch.start, stretch.length, 0)
        kind, _, _, _, process = struct.unpack(shape, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except (ImportError, OSError, struct.error):
        return ""
    return f" (process {process})" if kind != fcntl.F_UNLCK and process > 0 else ""


def _shown(folder: Path) -> str:
    return printable(str(folder))
