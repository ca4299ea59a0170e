"""Folders as cohorts come in: which lie in one, which images, and one line for what is wrong."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.sources.known_files import has_image_name, is_hidden
from edgeapl.wording.printable import printable

AGAIN = "download the cohort again, or remove the folder"


def folders_in(folder: Path) -> list[Path]:
    """Return the folders inside one, by name; hidden ones are left out.

    Raises InputError when it is no folder.
    """
    return [path for path in _inside(folder) if path.is_dir()]


def images_in(folder: Path) -> list[Path]:
    """Return the image files inside a folder, by name. Raises InputError when there are none."""
    found = [path for path in _inside(folder) if has_image_name(path.name) and path.is_file()]
    if not found:
        raise InputError("folder has no image", printable(folder), AGAIN)
    return found


def first_folder(folder: Path, *inner: str) -> Path:
    """Return the first of some folders that is there, ``"."`` for the folder itself.

    Raises InputError when it is none.
    """
    found = next((folder / name for name in inner if (folder / name).is_dir()), None)
    if found is None:
        raise InputError("no such folder", printable(folder), "give the cohort's own folder")
    return found


def first_file(folder: Path, what: str, *names: str) -> Path:
    """Return the first of some files that is there. Raises InputError when none is."""
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        looked = " or ".join(names)
        raise InputError(f"{what} is missing", printable(folder), f"it has no {looked}")
    return found


def check_known(kind: str, known: Collection[str], what: str, where: object) -> str:
    """Return the kind. Raises InputError when the cohort has none of this name."""
    if kind not in known:
        mend = f"known: {', '.join(sorted(known))}"
        raise InputError(f"{what} {printable(kind)!r} is not known", printable(where), mend)
    return kind


def check_apart(names: Sequence[tuple[str, str]], where: object) -> None:
    """Raise InputError when one patient, as (name, diagnosis), has two diagnoses."""
    known: dict[str, str] = {}
    for name, diagnosis in names:
        other = known.setdefault(name, diagnosis)
        if other != diagnosis:
            which = f"{printable(name)}: {printable(other)} and {printable(diagnosis)}"
            raise InputError(
                "patient has two diagnoses", f"{printable(where)}: {which}", "keep one"
            )


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not is_hidden(path.name))
    except OSError as error:
        what = "folder cannot be read"
        raise InputError(what, printable(folder), str(error.strerror)) from error
