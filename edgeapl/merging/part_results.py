"""The result folder of one part: its slides that are finished, and all slides of its input."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl.errors import InputError, StorageError
from edgeapl.report.results import CELLS, newest_folders, read_record
from edgeapl.scoring.marker import read_marker
from edgeapl.wording.printable import printable

NEEDED = ("slide", "slide_key", "journal_record", "bundle_digest", "verdict", "errors")


@dataclass(frozen=True, slots=True)
class FinishedSlide:
    """A slide with results, whose record stays on disk.

    home : its folder. name : identifier of the slide. row : hash of the verdict's row in its
    journal. key, bundle : digests of all that the results depend on, and of the bundle.
    """

    home: Path
    name: str
    row: str
    key: str
    bundle: str

    @classmethod
    def of(cls, home: Path, record: Mapping[str, Any]) -> FinishedSlide:
        """Return the slide of a record that lies in this folder, as in `verdict.json`."""
        names = ("slide", "journal_record", "slide_key", "bundle_digest")
        return cls(home, *(str(record[name]) for name in names))

    @property
    def record(self) -> dict[str, Any]:
        """The record, read from its folder. Raises StorageError when it is damaged."""
        return _whole(self.home)


@dataclass(frozen=True, slots=True)
class PartResults:
    """What a result folder holds.

    folder : the result folder. input : what was scored, as its mark says. listed : all slides of
    the input, also those of other parts, in the order of the tables. slides : that are finished
    here. left_out : names of slides with results that are not of the input any more.
    """

    folder: Path
    input: str
    listed: tuple[str, ...]
    slides: tuple[FinishedSlide, ...]
    left_out: tuple[str, ...]


def read_part(folder: Path) -> PartResults:
    """Read the result folder of `edgeapl score`.

    Raises InputError when it is none, StorageError when results are damaged or were written by a
    version that did not note what is needed.
    """
    marker = read_marker(folder)
    if not marker:
        mend = "give the result folder of edgeapl score"
        raise InputError("no results there", printable(str(folder)), mend)
    listed = [str(name) for name in marker.get("slides", ())]
    current = {*listed, *_in_tables(folder)}
    found = [FinishedSlide.of(home, _whole(home)) for home in newest_folders(folder)]
    kept = tuple(one for one in found if not current or one.name in current)
    gone = tuple(one.name for one in found if current and one.name not in current)
    return PartResults(folder, str(marker.get("folder", "")), tuple(listed), kept, gone)


def ordered_names(parts: Sequence[PartResults]) -> tuple[str, ...]:
    """All slides of all inputs, in the order of the first part that lists them."""
    return tuple(dict.fromkeys(name for part in parts for name in part.listed))


def _in_tables(folder: Path) -> list[str]:
    table = folder / "verdicts.jsonl"
    try:
        if not table.is_file():
            return []
        with table.open(encoding="utf-8") as lines:
            return [str(json.loads(line)["slide"]) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        mend = "score the part again with the same command"
        raise StorageError("table of verdicts is damaged", printable(str(table)), mend) from error


def _whole(home: Path) -> dict[str, Any]:
    record = read_record(home)
    lacks = [name for name in NEEDED if name not in record]
    if lacks or not (home / CELLS).is_file():
        mend = "score the part again with the same command"
        raise StorageError("results of a slide are damaged", printable(str(home)), mend)
    return record
