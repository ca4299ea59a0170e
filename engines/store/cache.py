"""The cache of engines between runs."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from edgeapl.bundle.digest import sha256
from edgeapl.engines.store.folder import EngineFolder, open_engines
from edgeapl.engines.store.machine import cache_base
from edgeapl.engines.store.record import RECORD, key_start
from edgeapl.errors import EngineError, StorageError, UsageError


def cache_folder() -> Path:
    """Return the folder of the cache: in ``$XDG_CACHE_HOME``, else in ``~/.cache``."""
    return cache_base() / "edgeapl" / "engines"


def read_timing(target: str, version: str, device: str) -> bytes:
    """Return what earlier builds measured with this library on this GPU; b"" without any."""
    try:
        return _timing_file(target, version, device).read_bytes()
    except OSError:
        return b""


def write_timing(target: str, version: str, device: str, measured: bytes) -> None:
    """Store it for the next build. A full disk only makes that build slower."""
    path = _timing_file(target, version, device)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        new.write_bytes(measured)
        new.replace(path)


def _timing_file(target: str, version: str, device: str) -> Path:
    which = sha256("\n".join([target, version, device]).encode())[:16]
    return cache_folder().parent / "timing" / f"{target}-{which}.cache"


def kept_engines(
    cache: Path, bundle_digest: str | None = None
) -> list[tuple[Path, EngineFolder | EngineError]]:
    """Return the engine folders of the cache, newest first, or why one cannot be used.

    bundle_digest : only those of this bundle; the others are not read, as reading means hashing.
    """
    if not cache.is_dir():
        return []
    start = "" if bundle_digest is None else key_start(bundle_digest)
    folders = [
        path
        for path in cache.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name.startswith(start)
    ]
    found: list[tuple[Path, EngineFolder | EngineError]] = []
    for folder in sorted(folders, key=_age, reverse=True):
        try:
            found.append((folder, open_engines(folder)))
        except EngineError as error:
            found.append((folder, error))
    return found


def remove_engines(cache: Path, key: str) -> Path:
    """Remove engines by the name of their folder; raises UsageError when there are none."""
    folder = cache / key
    if not key or Path(key).name != key or key == ".." or not folder.is_dir():
        raise UsageError("no such engines", key, "edgeapl engines list names them")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise StorageError("engines cannot be removed", folder, str(error.strerror)) from error
    return folder


def _age(folder: Path) -> float:
    try:
        return (folder / RECORD).stat().st_mtime
    except OSError:
        return 0.0
