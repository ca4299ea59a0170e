"""Reads a slide list, in which the user says which file belongs to which slide."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeapl.errors import ConfigError, EdgeAplError
from edgeapl.sources.listed_file import WINDOWS_MEND, NamedFiles, is_windows_path
from edgeapl.sources.table_file import (
    FILE_NAMES,
    PATIENT_NAMES,
    SLIDE_NAMES,
    Table,
    TableReader,
    TableRow,
    decimal,
)
from edgeapl.wording.names import canonical_name, has_undecoded_bytes
from edgeapl.wording.printable import printable

_SCALE = "um_per_px"
_OWN = {
    "slide": SLIDE_NAMES,
    "file": FILE_NAMES,
    "patient": PATIENT_NAMES,
    _SCALE: (_SCALE, "um/px", "um per px"),
}
_NEARLY_SCALE = re.compile(r"u?m[ _/.-]*p(er|ix|x|p)|um$|mpp$|scale|resolution|pixel")
"""A column that may have been meant as the scale; nobody must believe that it was used."""
_SCALES = (0.005, 10.0)
"""µm per px; the same limits as the option --um-per-px."""

_READER = TableReader(
    what="slide list",
    mend="write a CSV with the columns slide,file and, if wanted, patient,um_per_px",
    fits=lambda columns: {"slide", "file"} <= set(_places(columns)),
    own=tuple(name for names in _OWN.values() for name in names),
    raw_names=True,
)


@dataclass(frozen=True, slots=True)
class ListedColumn:
    """A column of the slide list that has a meaning only for the user.

    name : as written there. values : one per file of the slide.
    """

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SlideInput:
    """The images of one slide.

    name : unique among the slides of one run; Unicode NFC.
    files : in the order of examination; not checked yet.
    um_per_px : scale stated in the slide list, else None.
    patient : whose slide it is; empty if not stated.
    listed : other columns of the slide list, which are kept with the results.
    """

    name: str
    files: tuple[Path, ...]
    um_per_px: float | None = None
    patient: str = ""
    listed: tuple[ListedColumn, ...] = ()


@dataclass(frozen=True, slots=True)
class _Row:
    slide: str
    file: Path
    um_per_px: float | None
    patient: str
    others: tuple[str, ...]


def read_slide_list(path: Path, folder: Path) -> tuple[SlideInput, ...]:
    """Read a CSV with the columns slide and file; see `TableReader` for the accepted forms.

    Columns um_per_px and patient are used; all others are kept with the results.

    Parameters
    ----------
    path : the list.
    folder : base of relative file names. They must stay inside it; a file elsewhere must be given
        by its absolute path, so that it is intended.

    Files keep their order within a slide; slides come in the order of their first line. Whether a
    file exists and is sound shows when it is read. Raises ConfigError, with the line number, for a
    column, name or scale that is wrong, and for a file listed twice.
    """
    table = _READER.read(path)
    places = _places(table.columns)
    others = _other_columns(table, places, path)
    files = NamedFiles(folder)
    rows: dict[str, list[_Row]] = {}
    lines_of: dict[str, int] = {}
    for line in table.rows:
        row = _row(line, places, others, files, path)
        place = os.path.normpath(os.path.abspath(row.file))  # noqa: PTH100 - links stay as they are
        if place in lines_of:
            raise _wrong(path, line, f"the same file as in line {lines_of[place]}")
        lines_of[place] = line.line
        earlier = rows.setdefault(row.slide, [])
        if earlier and earlier[0].um_per_px != row.um_per_px:
            raise _wrong(path, line, f"another {_SCALE} than the slide's lines before")
        if earlier and earlier[0].patient != row.patient:
            raise _wrong(path, line, "another patient than the slide's lines before")
        earlier.append(row)
    if not rows:
        raise ConfigError("slide list has no lines", printable(path), "name at least one file")
    names = [table.headings[place] for place in others]
    return tuple(_slide(name, of_slide, names) for name, of_slide in rows.items())


def _slide(name: str, rows: list[_Row], others: list[str]) -> SlideInput:
    return SlideInput(
        name,
        tuple(row.file for row in rows),
        rows[0].um_per_px,
        rows[0].patient,
        tuple(
            ListedColumn(other, tuple(row.others[place] for row in rows))
            for place, other in enumerate(others)
        ),
    )


def _places(columns: Sequence[str]) -> dict[str, int]:
    """Find our columns: by their usual names, else by another one if only one is there."""
    found = {}
    for kind, names in _OWN.items():
        there = [name.replace("µ", "u").replace("μ", "u") for name in columns]
        usual = [place for place, name in enumerate(there) if name == kind]
        places = usual or [place for place, name in enumerate(there) if name in names]
        if len(places) == 1:
            found[kind] = places[0]
    return found


def _other_columns(table: Table, places: Mapping[str, int], path: Path) -> list[int]:
    """Return the indices of the user's own columns; one without name and cells is ignored."""
    missing = [name for name in ("slide", "file") if name not in places]
    if missing:
        what = f"no column {missing[0]!r} (cells are separated by {table.separated_by})"
        raise _READER.wrong(path, table.line, what)
    others = []
    for place, name in enumerate(table.columns):
        if place in places.values():
            continue
        filled = next((row for row in table.rows if row.cells[place].strip()), None)
        if not name and filled is not None:
            raise _wrong(path, filled, f"column {place + 1} has no name")
        plain = name.replace("µ", "u").replace("μ", "u")
        if _SCALE not in places and _NEARLY_SCALE.search(plain):
            mend = f"name it {_SCALE} if it is that, else otherwise"
            what = f"column {printable(table.headings[place])!r} is unknown, and may be the scale"
            raise _READER.wrong(path, table.line, what, mend)
        if name:
            others.append(place)
    return others


def _row(
    line: TableRow, places: Mapping[str, int], others: list[int], files: NamedFiles, path: Path
) -> _Row:
    cells = {name: line.cells[place] for name, place in places.items()}
    slide = canonical_name(cells["slide"].strip())
    if not slide:
        raise _wrong(path, line, "no slide")
    file = _file(cells["file"], line, files, path)
    texts = [canonical_name(line.cells[place].strip()) for place in others]
    patient = canonical_name(cells.get("patient", "").strip())
    if any(map(has_undecoded_bytes, (slide, patient, *texts))):
        raise _READER.not_utf8(path, line.line)
    scale = _scale(cells.get(_SCALE, "").strip(), path, line)
    return _Row(slide, file, scale, patient, tuple(texts))


def _file(name: str, line: TableRow, files: NamedFiles, path: Path) -> Path:
    if not name.strip() or "\0" in name:
        raise _wrong(path, line, "no file")
    found = files.find(name)
    if found is None and is_windows_path(name):
        raise _READER.wrong(path, line.line, f"{printable(name)!r} is not there", WINDOWS_MEND)
    if found is None and has_undecoded_bytes(name):
        raise _READER.not_utf8(path, line.line)
    place = files.folder / name if found is None else found
    if not Path(name).is_absolute():
        inside = os.path.relpath(os.path.normpath(place), os.path.normpath(files.folder))
        if inside == ".." or inside.startswith(".." + os.sep):
            raise _wrong(path, line, "the file lies outside the folder; name its absolute path")
    return place


def _scale(text: str, path: Path, line: TableRow) -> float | None:
    if not text:
        return None
    value = decimal(text)
    if value is None or not _SCALES[0] <= value <= _SCALES[1]:
        wrong = f"{_SCALE} {printable(text)!r} is no number from {_SCALES[0]} to {_SCALES[1]:g}"
        raise _wrong(path, line, wrong)
    return value


def _wrong(path: Path, line: TableRow, what: str) -> EdgeAplError:
    return _READER.wrong(path, line.line, what)
