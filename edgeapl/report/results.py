"""The result folder: one folder per record of a slide, and tables of all slides at its top.

The first record of a slide is in ``slides/NAME``, others in ``slides/NAME.record2`` and so on: no
record ever replaces another.
"""

from __future__ import annotations

import codecs
import glob
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeapl.errors import StorageError
from edgeapl.report.safe_names import safe_name
from edgeapl.report.storage import replacing, storing, sync_folder
from edgeapl.wording.printable import printable

VERDICT = "verdict.json"
CELLS = "cells.csv"
FRAMES = "frames.csv"
REPORT = "report.html"
INDEX = "index.html"
THUMBNAIL = "thumbnail.jpg"

_UNFINISHED = ".partial"
_NOT_DONE = (_UNFINISHED, ".old")


def slide_folder(folder: Path, slide: str, number: int = 1) -> Path:
    """Return the folder of a slide's first record, or of another one."""
    name = safe_name(slide)
    return folder / "slides" / (name if number == 1 else f"{name}.record{number}")


def record_folders(folder: Path, slide: str) -> list[Path]:
    """Return the folders of all records of a slide, oldest first."""
    first = slide_folder(folder, slide)
    others = first.parent.glob(f"{glob.escape(first.name)}.record*")
    numbers = [number for _, number in (_numbered(path.name) for path in others) if number > 1]
    numbers += [1] if os.path.lexists(first) else []
    return [slide_folder(folder, slide, number) for number in sorted(numbers)]


def next_folder(folder: Path, slide: str, newest: Mapping[str, str] | None = None) -> Path:
    """Return the folder for one more record of a slide.

    newest : of `newest_by_name`, for whoever writes many slides: all folders are listed without it.
    """
    if newest is not None:
        first = slide_folder(folder, slide)
        last = newest.get(first.name)
        final = first if last is None else slide_folder(folder, slide, _numbered(last)[1] + 1)
        if not os.path.lexists(final):
            return final
    taken = record_folders(folder, slide)
    if not taken:
        return slide_folder(folder, slide)
    return slide_folder(folder, slide, _numbered(taken[-1].name)[1] + 1)


def unfinished_folder(folder: Path, slide: str, newest: Mapping[str, str] | None = None) -> Path:
    """Return the folder that collects one more record of a slide until it is complete.

    newest : as for `next_folder`.
    """
    final = next_folder(folder, slide, newest)
    return final.with_name(final.name + _UNFINISHED)


def unfinished_folders(folder: Path) -> list[Path]:
    """Return the folders of all incomplete records."""
    found = (folder / "slides").glob(f"*{_UNFINISHED}")
    return sorted(path for path in found if path.is_dir() and not path.is_symlink())


def slide_of_unfinished(unfinished: Path, slide: str) -> bool:
    """Whether a folder of `unfinished_folders` belongs to a slide."""
    name, _ = _numbered(unfinished.name.removesuffix(_UNFINISHED))
    return name == safe_name(slide)


def put_in_place(home: Path, folder: Path, slide: str) -> Path:
    """Rename a complete folder to a free name and return its new path."""
    final = home.with_name(home.name.removesuffix(_UNFINISHED))
    with storing(final):
        sync_folder(home)
        if os.path.lexists(final):  # another record has taken it meanwhile
            final = next_folder(folder, slide)
        home.rename(final)
        sync_folder(final.parent)
    return final


def newest_folder(folder: Path, slide: str) -> Path:
    """Return the folder of a slide's newest record; that of the first one without any."""
    return [slide_folder(folder, slide), *record_folders(folder, slide)][-1]


def newest_folders(folder: Path) -> list[Path]:
    """Return the newest folder of every slide, by name, without unfinished ones."""
    newest = newest_by_name(folder)
    return [folder / "slides" / newest[name] for name in sorted(newest)]


def newest_by_name(folder: Path) -> dict[str, str]:
    """Return the name of every slide's newest folder, by the name of its first one.

    For whoever looks for many slides: `newest_folder` lists all folders for each of them.
    """
    newest: dict[str, tuple[int, str]] = {}
    for name in _complete(folder):
        first, number = _numbered(name)
        if number >= newest.get(first, (0, ""))[0]:
            newest[first] = (number, name)
    return {first: name for first, (_, name) in newest.items()}


def newest_of(folder: Path, slide: str, newest: Mapping[str, str]) -> Path:
    """Return the same as `newest_folder`, from the list of `newest_by_name`."""
    first = slide_folder(folder, slide)
    return first.with_name(newest.get(first.name, first.name))


def every_folder(folder: Path) -> list[Path]:
    """Return the folders of all records of all slides, by name, oldest first."""
    return [folder / "slides" / name for name in sorted(_complete(folder), key=_numbered)]


def _complete(folder: Path) -> Iterator[str]:
    """Yield the names of all folders of records, without unfinished ones."""
    place = folder / "slides"
    if not place.is_dir():
        return
    with os.scandir(place) as entries:
        for entry in entries:
            if not entry.name.endswith(_NOT_DONE) and (place / entry.name).is_dir():
                yield entry.name


def _numbered(name: str) -> tuple[str, int]:
    """Split the name of a folder into the first record's name and the number."""
    first, mark, digits = name.rpartition(".record")
    if mark and digits.isascii() and digits.isdigit():
        return first, int(digits)
    return name, 1


def report_of(folder: Path, slide: str, record: str) -> Path | None:
    """Return the report of a slide's record, by the hash of its row; None when it is gone."""
    for home in record_folders(folder, slide):
        if _read(home / VERDICT, slide).get("journal_record") == record:
            report = home / REPORT
            return report if report.is_file() else None
    return None


def record_line(record: Mapping[str, Any]) -> bytes:
    """Return a record as one line of `verdict.json` and `verdicts.jsonl`."""
    return (json.dumps(record, allow_nan=False, ensure_ascii=True) + "\n").encode("ascii")


def finished_record(
    folder: Path, slide: str, newest: Mapping[str, str] | None = None
) -> dict[str, Any] | None:
    """Read the newest record of a slide whose results are complete; None when there are none.

    newest : of `newest_by_name`, for whoever looks for many slides.

    Raises StorageError when the folder is damaged or belongs to another slide.
    """
    home = newest_folder(folder, slide) if newest is None else newest_of(folder, slide, newest)
    if not home.exists():
        return None
    path = home / VERDICT
    mend = f"remove {printable(str(home))} to score the slide again"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError("results of a slide are damaged", printable(str(path)), mend) from error
    if not isinstance(record, dict) or not (home / CELLS).is_file():
        raise StorageError("results of a slide are damaged", printable(str(home)), mend)
    if record.get("slide") != slide:
        # Only on disks that ignore case.
        which = f"{printable(slide)} and {printable(str(record.get('slide')))}"
        raise StorageError("two slides need one folder", which, "give one another name")
    return record


def finished_records(folder: Path, slide: str) -> Iterator[dict[str, Any]]:
    """Return all finished records of a slide; unreadable ones are skipped."""
    found = (_read(home / VERDICT, slide) for home in record_folders(folder, slide))
    return (record for record in found if record)


def _read(path: Path, slide: str) -> dict[str, Any]:
    """Read a record of a slide; empty when it is damaged or another's."""
    record = read_record(path.parent)
    return record if record.get("slide") == slide else {}


def read_record(home: Path) -> dict[str, Any]:
    """Read the record in a slide's folder; empty when it is damaged."""
    try:
        record = json.loads((home / VERDICT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def assemble(folder: Path, slides: Sequence[str]) -> None:
    """Write `verdicts.jsonl` and `cells.csv` of all named slides, in this order.

    Each file is replaced atomically. Raises
    StorageError when a slide has no results or a file cannot be written.
    """
    newest = newest_by_name(folder)
    with replacing(folder / "verdicts.jsonl") as out:
        for home in _homes(folder, slides, newest):
            with storing(home), (home / VERDICT).open("rb") as file:
                shutil.copyfileobj(file, out)
    header: bytes | None = None
    marks = {_mark_of(home / CELLS) for home in _homes(folder, slides, newest)}
    with replacing(folder / CELLS) as out:
        out.write(b"".join(marks))
        for home in _homes(folder, slides, newest):
            with storing(home), (home / CELLS).open("rb") as file:
                columns = file.readline().removeprefix(codecs.BOM_UTF8)
                if header is None:
                    out.write(columns)
                elif columns != header:
                    raise StorageError(
                        "tables of two bundles or lists do not fit together",
                        printable(str(home / CELLS)),
                        "score the slides again or choose another folder with --out",
                    )
                header = columns
                shutil.copyfileobj(file, out)


def _homes(folder: Path, slides: Sequence[str], newest: Mapping[str, str]) -> Iterator[Path]:
    return (newest_of(folder, slide, newest) for slide in slides)


def _mark_of(path: Path) -> bytes:
    """Return the byte-order mark at the start of a table, or nothing."""
    with storing(path), path.open("rb") as file:
        first = file.read(len(codecs.BOM_UTF8))
    return first if first == codecs.BOM_UTF8 else b""
