"""Read a slide list: which file belongs to which slide, said by the user."""

from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path

from edgeapl.errors import ConfigError, EdgeAplError
from edgeapl.sources.names import printable
from edgeapl.sources.plain_file import read_plain_file

_NEEDED = ("slide", "file")
_SCALE = "um_per_px"
_MAX_BYTES = 64 * 2**20
_SCALES = (0.005, 10.0)
"""µm per px; the same limits as the option --um-per-px."""


@dataclass(frozen=True, slots=True)
class SlideInput:
    """The images of one slide.

    name : unique among the slides of one run.
    files : in the order in which they are examined; not checked yet.
    um_per_px : scale stated in the slide list, else None.
    """

    name: str
    files: tuple[Path, ...]
    um_per_px: float | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    slide: str
    file: Path
    um_per_px: float | None


def read_slide_list(path: Path, folder: Path) -> tuple[SlideInput, ...]:
    """Read a CSV (UTF-8, comma) with the columns slide, file and, if wanted, um_per_px.

    Parameters
    ----------
    path : the list.
    folder : what relative file names start from. They must stay inside it; a file elsewhere must
        be named with its absolute path, so that it is meant.

    Files keep their order within a slide; slides come in the order of their first line. Whether a
    file is there and good is seen when it is read. Raises ConfigError, with the line's number, for
    a column, name or scale that is wrong, and for a file named twice.
    """
    rows: dict[str, list[_Row]] = {}
    lines_of: dict[str, int] = {}
    for line, cells in _lines(path):
        row = _row(cells, folder, path, line)
        place = os.path.normpath(os.path.abspath(row.file))  # noqa: PTH100 - links stay as they are
        if place in lines_of:
            raise _wrong(path, line, f"the same file as in line {lines_of[place]}")
        lines_of[place] = line
        earlier = rows.setdefault(row.slide, [])
        if earlier and earlier[0].um_per_px != row.um_per_px:
            raise _wrong(path, line, f"another {_SCALE} than the slide's lines before")
        earlier.append(row)
    if not rows:
        raise ConfigError("slide list has no lines", printable(path), "name at least one file")
    return tuple(
        SlideInput(slide, tuple(row.file for row in of_slide), of_slide[0].um_per_px)
        for slide, of_slide in rows.items()
    )


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Give (line number, column to cell) for every line but the first and empty ones."""
    try:
        data = read_plain_file(path, _MAX_BYTES)
    except EdgeAplError as error:
        raise ConfigError(f"slide list: {error.what}", error.which, error.mend) from error
    # A file name need not be UTF-8; its bytes must come through as they are.
    text = data.decode("utf-8-sig", "surrogateescape")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        _check_columns(columns, path)
        found = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                wrong = f"{len(cells)} columns instead of {len(columns)}"
                raise _wrong(path, reader.line_num, wrong)
            found.append((reader.line_num, dict(zip(columns, cells, strict=True))))
    except csv.Error as error:
        raise _wrong(path, reader.line_num, str(error)) from error
    return found


def _check_columns(columns: list[str], path: Path) -> None:
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise _wrong(path, 1, f"no column {missing[0]!r}")
    unknown = [name for name in columns if name not in (*_NEEDED, _SCALE)]
    if unknown or len(set(columns)) != len(columns):
        name = printable((unknown or columns)[0])
        raise _wrong(path, 1, f"column {name!r} is unknown or there twice")


def _row(cells: dict[str, str], folder: Path, path: Path, line: int) -> _Row:
    slide = cells["slide"].strip()
    if not slide:
        raise _wrong(path, line, "no slide")
    file = cells["file"]
    if not file.strip() or "\0" in file:
        raise _wrong(path, line, "no file")
    if not Path(file).is_absolute():
        inside = os.path.normpath(file)
        if inside == ".." or inside.startswith(".." + os.sep):
            raise _wrong(path, line, "the file lies outside the folder; name its absolute path")
    return _Row(slide, folder / file, _scale(cells.get(_SCALE, "").strip(), path, line))


def _scale(text: str, path: Path, line: int) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not _SCALES[0] <= value <= _SCALES[1]:
        wrong = f"{_SCALE} {printable(text)!r} is no number from {_SCALES[0]} to {_SCALES[1]:g}"
        raise _wrong(path, line, wrong)
    return value


def _wrong(path: Path, line: int, what: str) -> ConfigError:
    mend = "write a CSV with the columns slide,file or slide,file,um_per_px"
    return ConfigError(f"slide list, line {line}: {what}", printable(path), mend)
