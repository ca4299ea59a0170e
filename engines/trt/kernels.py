"""Kernels that TensorRT-RTX compiled for the GPU here, kept from one start to the next.

A plan of TensorRT-RTX holds no kernels: they are compiled when a shape is first met, which takes
seconds. What was compiled is written to a file that is read at the next start. One cache serves
all networks of a process, and lives as long as it: contexts go on using it.
"""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgeapl.bundle.digest import sha256
from edgeapl.engines.store.cache import cache_folder

MARK = b"edgeapl kernels 1 "
OURS_ALONE = 0o077


class Kernels:
    """The cache of a process. file : where it is kept.

    A file that is another user's, that others may write, or that is not what was written is passed
    over: compiled kernels are code. The library refuses by itself those of another version or GPU.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._turn = threading.Lock()
        self._cache: Any = None
        self._kept = b""

    def attach(self, runtime_config: Any) -> None:
        """Let contexts that are made with this configuration use it.

        For use with the GPU's context on this thread.
        """
        with self._turn:
            if self._cache is None:
                self._cache = runtime_config.create_runtime_cache()
                self._kept = _read(self._file)
                if self._kept:
                    self._cache.deserialize(self._kept)
            runtime_config.set_runtime_cache(self._cache)

    def keep(self) -> None:
        """Write what was compiled since; a folder that cannot be written costs only time."""
        with self._turn:
            if self._cache is None:
                return
            now = bytes(self._cache.serialize())
            if now != self._kept:
                with suppress(OSError):
                    _write(self._file, now)
                    self._kept = now


def kernels_file(*identity: str) -> Path:
    """Return where the kernels for a library, driver and GPU are kept, beside the engines."""
    name = sha256("\n".join(identity).encode())[:16]
    return cache_folder().parent / "kernels" / f"{name}.bin"


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            about = os.fstat(opened.fileno())
            data = opened.read()
    except OSError:
        return b""
    mine = about.st_uid == os.geteuid() and not stat.S_IMODE(about.st_mode) & OURS_ALONE
    head, _, blob = data.partition(b"\n")
    return blob if mine and head == MARK + sha256(blob).encode() else b""


def _write(file: Path, blob: bytes) -> None:
    """Replace the file; two who write at the same time leave one of both, whole."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".kernels-")
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(MARK + sha256(blob).encode() + b"\n" + blob)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
