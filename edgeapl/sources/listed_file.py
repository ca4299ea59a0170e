r"""Finds a listed file, also in another Unicode form or with ``\`` between its folders."""

from __future__ import annotations

import os
import re
from pathlib import Path

from edgeapl.wording.names import canonical_name

WINDOWS_MEND = "a path of Windows: write it from the images' folder on, with / between folders"
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def is_windows_path(name: str) -> bool:
    r"""Return whether a name has ``\`` between folders, or begins with a drive."""
    return "\\" in name or _DRIVE.match(name) is not None


class NamedFiles:
    r"""Finds files below a folder; a folder's entries are read once.

    A file with exactly the given name comes first. Otherwise names are compared in Unicode NFC, and
    ``\`` is read as ``/``. Names without surrounding blanks are tried too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[Path, dict[str, list[str]]] = {}

    def find(self, name: str) -> Path | None:
        """Return the path as it is on disk; None if there is none, or it is ambiguous."""
        for written in dict.fromkeys((name, name.strip())):
            found = self._below(written)
            if found is None and "\\" in written and not _DRIVE.match(written):
                found = self._below(written.replace("\\", "/"))
            if found is not None:
                return found
        return None

    def _below(self, name: str) -> Path | None:
        anchor = Path(name).anchor
        place = Path(anchor) if anchor else self.folder
        try:
            for part in Path(name).relative_to(anchor).parts:
                step = self._step(place, part)
                if step is None:
                    return None
                place = step
        except (OSError, ValueError):  # too long, or invalid on this system
            return None
        return place

    def _step(self, place: Path, part: str) -> Path | None:
        if part == ".." or _is_there(place / part):
            return place / part
        if place not in self._held:
            with os.scandir(place) as entries:
                held: dict[str, list[str]] = {}
                for entry in entries:
                    held.setdefault(canonical_name(entry.name), []).append(entry.name)
            self._held[place] = held
        same = self._held[place].get(canonical_name(part), [])
        return place / same[0] if len(same) == 1 else None


def _is_there(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # an umlaut where file names are ASCII: its bytes may exist
        return False
