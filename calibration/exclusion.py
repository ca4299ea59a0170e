"""Slides that are kept for testing: none of their images may set ranges or limits."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeapl.bundle.digest import sha256_file
from edgeapl.errors import ConfigError, EdgeAplError, UsageError
from edgeapl.sources.discover import SlideInput, has_image_name
from edgeapl.sources.names import printable
from edgeapl.sources.plain_file import read_plain_file

NAMES = ("slide", "patient")
FILE = "file"
SPLIT = "split"
TEST = "test"

_MAX_BYTES = 64 << 20
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Excluded:
    """Test slides. slides : their names, case folded. digests : SHA-256 (hex) of their images."""

    slides: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()

    def names(self, slide: str) -> bool:
        """Whether this slide is one of them by its name."""
        return slide.strip().casefold() in self.slides


def read_exclusions(path: Path, frames: Path) -> Excluded:
    """Read which slides are for testing.

    Parameters
    ----------
    path : CSV (UTF-8, comma) with a column ``slide``, ``patient`` or ``file``, or several; other
        columns are ignored. Where there is a column ``split``, only its rows ``test`` count.
    frames : folder of the calibration images.

    Files are looked for beside the list and in the folder of the images, folders named like a
    slide beside the list; what is found is known by its content too, under whatever name.
    Raises ConfigError when the list can not be read or names nothing.
    """
    slides: set[str] = set()
    digests: set[str] = set()
    for row in _rows(path):
        for column in NAMES:
            name = row.get(column, "").strip()
            if name:
                slides.add(name.casefold())
                digests.update(_digests_below(path.parent, name))
        file = row.get(FILE, "").strip()
        if file:
            for folder in (path.parent, frames):
                digests.update(_digest(folder / file))
    if not slides and not digests:
        raise _wrong(path, "names no test slide")
    return Excluded(frozenset(slides), frozenset(digests))


def refuse_named(slides: Sequence[SlideInput], excluded: Excluded) -> None:
    """Raise UsageError when slides of the calibration set are test slides by their names."""
    named = [slide.name for slide in slides if excluded.names(slide.name)]
    if named:
        raise overlap("slide", named)


def overlap(what: str, names: Sequence[str]) -> UsageError:
    """Give the error for calibration images that are test images; `what` is the singular."""
    shown = ", ".join(printable(name) for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return UsageError(
        f"calibration set holds {len(names)} test {what}{'s' if len(names) > 1 else ''}",
        shown + more,
        "take them out of --frames, or add --leave-out-excluded",
    )


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        text = read_plain_file(path, _MAX_BYTES).decode("utf-8-sig", "surrogateescape")
    except EdgeAplError as error:
        raise ConfigError(f"list of test slides: {error.what}", error.which, error.mend) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [name.strip().casefold() for name in next(reader, [])]
        wanted = [name for name in (*NAMES, FILE) if name in columns]
        if not wanted or len(set(columns)) != len(columns):
            raise _wrong(path, "has no column slide, patient or file, or one twice")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                found = f"line {reader.line_num} has {len(cells)} columns, not {len(columns)}"
                raise _wrong(path, found)
            row = dict(zip(columns, cells, strict=True))
            if row.get(SPLIT, TEST).strip().casefold() == TEST:
                yield row
    except csv.Error as error:
        raise _wrong(path, f"line {reader.line_num}: {error}") from error


def _wrong(path: Path, what: str) -> ConfigError:
    mend = "write a CSV with a column slide, patient or file"
    return ConfigError(f"list of test slides {what}", printable(path), mend)


def _digests_below(parent: Path, name: str) -> Iterator[str]:
    folder = parent / name
    if folder.parent == parent and name != ".." and folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if has_image_name(path.name):
                yield from _digest(path)


def _digest(path: Path) -> Iterator[str]:
    """Give the digest of a file that is there."""
    try:
        if path.is_file():
            yield sha256_file(path)
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise ConfigError(
            f"test image cannot be read ({reason})", printable(path), "check its rights"
        ) from error
