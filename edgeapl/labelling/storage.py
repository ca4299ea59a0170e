"""The folder of exported labels: written whole, replacing nothing but earlier labels."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from edgeapl.errors import UsageError
from edgeapl.report.storage import storing, sync_folder, write_new_synced
from edgeapl.wording.printable import printable

MARKER = "edgeapl-labels.json"
"""Lists every file of the folder with its digest, so that foreign files are noticed."""

SCHEMA = 1


class LabelsFolder:
    """A folder being written; as a context manager it leaves nothing behind unless finished.

    Raises UsageError when the path holds something this program did not write, or that was changed
    since, and StorageError when nothing can be written.
    """

    def __init__(self, folder: Path) -> None:
        self._final = folder
        self._part = folder.with_name(folder.name + ".partial")
        self._files: dict[str, str] = {}
        self._finished = False

    def __enter__(self) -> LabelsFolder:
        refuse_foreign(self._final)
        with storing(self._part):
            if os.path.lexists(self._part):
                # Only remains of an interrupted run: its marker comes first.
                refuse_foreign(self._part, finished=False)
                shutil.rmtree(self._part)
            self._part.mkdir(parents=True)
        write_new_synced(self._part / MARKER, b"{}\n")
        return self

    @property
    def replaces(self) -> bool:
        """Whether finishing will replace labels exported earlier."""
        return self._final.is_dir() and any(self._final.iterdir())

    def add(self, name: str, content: bytes) -> None:
        """Write one file, creating its folders. Raises StorageError."""
        path = self._part / name
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_new_synced(path, content)
        self._files[name] = hashlib.sha256(content).hexdigest()

    def finish(self, about: Mapping[str, Any]) -> None:
        """Move the folder into place. about : further content of the marker."""
        marker = {"schema": SCHEMA, "research_use_only": True, **about, "files": self._files}
        with storing(self._final):
            (self._part / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="ascii")
            refuse_foreign(self._final)
            old = self._final.with_name(self._final.name + ".old")
            if self._final.exists():
                if old.exists():
                    refuse_foreign(old)
                    shutil.rmtree(old)
                self._final.rename(old)
            self._part.rename(self._final)
            sync_folder(self._final.parent)
            if old.exists():
                shutil.rmtree(old)
        self._finished = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._finished and (self._part / MARKER).is_file():
            shutil.rmtree(self._part)


def refuse_foreign(folder: Path, *, finished: bool = True) -> None:
    """Raise UsageError when a folder holds anything but labels as this program wrote them."""
    if not os.path.lexists(folder):
        return
    mend = "choose another folder with --out"
    if folder.is_symlink() or not folder.is_dir():
        raise UsageError("labels need a folder of their own", printable(folder), mend)
    there = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }
    if not there:
        return
    if MARKER not in there:
        raise UsageError("folder is not one of exported labels", printable(folder), mend)
    if not finished:
        return
    known = _known_files(folder / MARKER)
    for name, path in there.items():
        if name != MARKER and (path.is_symlink() or known.get(name) != _digest(path)):
            what = "file was changed or was not written by this program"
            raise UsageError(what, printable(path), mend)


def _known_files(marker: Path) -> Mapping[str, str]:
    try:
        files = json.loads(marker.read_text(encoding="ascii"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return files if isinstance(files, dict) else {}


def _digest(path: Path) -> str:
    with storing(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()
