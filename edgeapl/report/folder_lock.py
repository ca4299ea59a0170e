"""A result folder taken by one station at a time, and known to be writable before it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeapl.errors import StorageError
from edgeapl.report.storage import storing, sync
from edgeapl.wording.printable import printable

LOCK = ".station"


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a result folder; made if missing.

    Raises StorageError at once when nothing can be written there, or when another station has it:
    two stations would both finish what was left open.
    """
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("wb")
    with file:
        if not _locked(file.fileno()):
            mend = "end that one, or choose another folder with --out"
            raise StorageError("another station uses the result folder", _shown(folder), mend)
        with storing(folder):
            # A disk that is full takes names, but no bytes.
            file.write(f"{os.getpid()}\n".encode())
            sync(file)
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
        yield _locked(file.fileno())


def _locked(file: int) -> bool:
    """Lock the file for this process, until it is closed or the process is gone, however."""
    try:
        import fcntl  # noqa: PLC0415 - not everywhere
    except ImportError:
        return True
    try:
        # Not flock: its lock would live on in children.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the second is what some systems say instead
        return False
    return True


def _shown(folder: Path) -> str:
    return printable(str(folder))
