"""Finds the slides in a folder: which images belong to which smear."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeapl.errors import InputError, UsageError
from edgeapl.sources.known_files import (
    has_image_name,
    is_archive,
    is_folder_of_image,
    is_ignored_folder,
    looks_like_image,
)
from edgeapl.sources.name_pattern import OPTION, group_by_name
from edgeapl.sources.slide_list import SlideInput, read_slide_list
from edgeapl.wording.names import canonical_name, disambiguated
from edgeapl.wording.printable import printable

__all__ = [
    "RESULTS_MARKER",
    "SLIDE_LIST",
    "FoundSlides",
    "SlideInput",
    "find_slides",
    "has_image_name",
    "printable",
    "split_left_out",
]

RESULTS_MARKER = "edgeapl-results.json"
"""A folder with this file is one of our own result folders and is skipped."""

SLIDE_LIST = "slides.csv"
"""A list with this name in the folder decides which file belongs to which slide."""


UNPACK = "unpack it and give the folder that comes out"


@dataclass(frozen=True, slots=True)
class FoundSlides:
    """All slides of one folder.

    slides : in the order of their names.
    unlisted : images that exist but are not in the slide list; nobody looks at them.
    slide_list : that decided; None if folders or file names did.
    """

    slides: tuple[SlideInput, ...]
    unlisted: tuple[Path, ...] = ()
    slide_list: Path | None = None


def find_slides(
    folder: Path,
    *,
    crops: bool = False,
    slide_list: Path | None = None,
    slide_from: str | None = None,
) -> FoundSlides:
    """Find the slides in a folder.

    Images in the folder itself are one slide, named after it; every sub-folder with images, at any
    depth, is one slide, named after the sub-folder. A slide list takes precedence: `slide_list`, or
    `slides.csv` in the folder. A single image is a slide of one frame.

    Everything that looks like an image is included, by its name or its first bytes, whether it can
    be read or not, even a pipe or a folder, so that it becomes an error of its own when it is read.
    Links are followed, each folder once per slide. Hidden files, files that systems leave in
    folders and our own result folders are skipped.

    Parameters
    ----------
    folder : where to look, or one image file.
    crops : every image is one cell; the rules are the same.
    slide_list : CSV with the columns slide, file and optionally um_per_px, patient and others.
    slide_from : pattern that finds the slide in each image's name; see `group_by_name`.

    Raises InputError when the folder is missing, unreadable or without images, UsageError when it
    is neither a folder nor an image, or an archive, ConfigError when the list is wrong.
    """
    if not os.path.lexists(folder):
        raise InputError("does not exist", printable(folder), "check the path")
    if is_archive(folder):
        raise UsageError("an archive, not a folder", printable(folder), UNPACK)
    if not folder.is_dir():
        if slide_from is not None:
            raise UsageError(f"{OPTION} needs a folder", printable(folder), "give a folder")
        return FoundSlides((_one_image(folder, slide_list),))
    own_list = folder / SLIDE_LIST
    if slide_list is None and os.path.lexists(own_list):
        slide_list = own_list
    if slide_from is not None:
        return FoundSlides(_by_name(folder, slide_from, slide_list))
    by_name = _by_folder(folder, must_hold_images=slide_list is None)
    if slide_list is None:
        return FoundSlides(tuple(SlideInput(name, files) for name, files in by_name))
    listed = read_slide_list(slide_list, folder)
    named = {os.path.normpath(file) for slide in listed for file in slide.files}
    there = (file for _, files in by_name for file in files)
    unlisted = tuple(file for file in there if os.path.normpath(file) not in named)
    return FoundSlides(listed, unlisted, slide_list)


def split_left_out(
    files: Sequence[Path], leave_out: Sequence[str]
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Split files into those to examine and those in a folder with one of these names."""
    names = {name.casefold() for name in leave_out}
    out = tuple(file for file in files if file.parent.name.casefold() in names)
    return tuple(file for file in files if file not in set(out)), out


def _by_name(folder: Path, pattern: str, slide_list: Path | None) -> tuple[SlideInput, ...]:
    if slide_list is not None:
        mend = f"leave {OPTION} away, or move the list away"
        raise UsageError(f"both a slide list and {OPTION}", printable(slide_list), mend)
    files = [file for _, images in _by_folder(folder, must_hold_images=True) for file in images]
    return group_by_name(files, folder, pattern)


def _one_image(file: Path, slide_list: Path | None) -> SlideInput:
    name = printable(file)
    if slide_list is not None:
        raise UsageError("a slide list needs a folder", name, "give the folder of the images")
    if not looks_like_image(file):
        raise UsageError("neither a folder nor an image", name, "give a folder of images")
    return SlideInput(canonical_name(file.stem), (file,))


def _by_folder(folder: Path, *, must_hold_images: bool) -> list[tuple[str, tuple[Path, ...]]]:
    """Return (slide, images) for the folder and each sub-folder."""
    try:
        entries = _entries(folder)
    except OSError as error:
        which = printable(folder)
        raise InputError("folder cannot be read", which, error.strerror or "check it") from error
    if any(entry.name == RESULTS_MARKER for entry in entries):
        mend = "give the folder of the images"
        raise InputError("a result folder of EdgeAPL, not images", printable(folder), mend)
    own = [Path(entry.path) for entry in entries if _is_image(entry)]
    found = [(_name_of(folder), tuple(own))] if own else []
    for entry in entries:
        if _is_folder(entry) and not _is_image(entry) and not is_ignored_folder(entry.name):
            images = tuple(_below(Path(entry.path), set()))
            if images:
                found.append((entry.name, images))
    if must_hold_images and not found:
        mend = "give a folder with PNG, JPEG, TIFF or BMP files"
        raise InputError("no images in folder", printable(folder), mend)
    _refuse_same_names([name for name, _ in found])
    return [(canonical_name(name), images) for name, images in found]


def _refuse_same_names(names: Sequence[str]) -> None:
    """Raise InputError when two folders have the same name and would be one slide."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(canonical_name(name), name)
        if other is not name:
            both = "folder and sub-folder have" if other == name else "two folders have"
            which = " and ".join(
                printable(shown) for shown in disambiguated((other, name)).values()
            )
            mend = "rename one of them or give a slide list"
            raise InputError(f"{both} the same name", which, mend)


def _below(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Yield every image at any depth.

    A folder that cannot be opened is yielded like an image: reading it then raises the error, and
    it is not silently skipped.
    """
    try:
        status = folder.stat()
        entries = _entries(folder)
    except OSError:
        yield folder
        return
    place = (status.st_dev, status.st_ino)
    if place in seen or any(entry.name == RESULTS_MARKER for entry in entries):
        return  # a link that leads back, or our own results
    seen.add(place)
    for entry in entries:
        if _is_image(entry):
            yield Path(entry.path)
        elif _is_folder(entry) and not is_ignored_folder(entry.name):
            yield from _below(Path(entry.path), seen)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: os.fsencode(entry.name))


def _is_image(entry: os.DirEntry[str]) -> bool:
    if _is_folder(entry):
        return is_folder_of_image(entry.name)
    return looks_like_image(Path(entry.path))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a cycle of links


def _name_of(folder: Path) -> str:
    """Return a folder's own name, also for ``.`` and ``..``."""
    return folder.resolve().name or "slide"
