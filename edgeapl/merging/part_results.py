"""The result folder of one part: its slides that are finished, and all slides of its input."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
    """A slide with results. home : its folder. record : as in `verdict.json`."""

    home: Path
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """Identifier of the slide."""
        return str(self.record["slide"])

    @property
    def row(self) -> str:
        """Hash of the verdict's row in its journal."""
        return str(self.record["journal_record"])


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
    found = [FinishedSlide(home, _whole(home)) for home in newest_folders(folder)]
    kept = tuple(one for one in found if not current or one.name in current)
    gone = tuple(one.name for one in found if current and one.name not in current)
    return PartResults(folder, str(marker.get("folder", "")), tuple(listed), kept, gone)


def ordered_names(parts: Sequence[PartResults]) -> tuple[str, ...]:
    """All slides of all inputs, in the order of the first part that lists them."""
    return tuple(dict.fromkeys(name for part in parts for name in part.listed))


def _in_tables(folder: Path) -> list[str]:
    table = folder / "verdicts.jsonl"
    try:
        lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
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
