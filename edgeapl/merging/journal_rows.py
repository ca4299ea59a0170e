"""Rows of several journals appended to one: each once, in the order of their times."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeapl.bundle.digest import sha256
from edgeapl.errors import StorageError
from edgeapl.journal import (
    MERGED,
    VERDICT,
    Journal,
    Row,
    every_row,
    journal_identity,
    origin_of_row,
    steady_fields,
    verify,
)
from edgeapl.wording.printable import printable

Origin = tuple[str, str]
"""Identity of the journal that a row was first committed to, and its hash there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is remembered of a row while its journal is read for the second time.

    time : never before that of the row before it in the same journal.
    """

    time: str
    journal: int
    sequence: int
    origin: Origin


@dataclass(slots=True)
class RowPlan:
    """What is to be done with the rows of all journals.

    entries : rows to append, in their order. hashes : of rows that are there already, by any hash
    they have or had, to the hash in the merged journal. duplicates : rows to leave out, by hash, to
    the origin of the row that stands for them. coming : hashes of the rows to append. known,
    twice : how many rows were left out because they are there, or say the same of one slide.
    """

    entries: list[Entry] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    duplicates: dict[str, Origin] = field(default_factory=dict)
    by_origin: dict[Origin, str] = field(default_factory=dict)
    coming: set[str] = field(default_factory=set)
    known: int = 0
    twice: int = 0

    def has(self, digest: str) -> bool:
        """Whether the merged journal will have a row of this hash, by whatever hash then."""
        return digest in self.hashes or digest in self.coming or digest in self.duplicates


def plan_rows(sources: Sequence[Path], target: Journal) -> RowPlan:
    """Verify all journals and say which rows are new. Nothing is written.

    Raises StorageError when a journal is not as it was written, or two of them answer otherwise for
    one slide of the same images and settings.
    """
    for source in sources:
        _refuse_changed(source, target.path)
    plan, keys = RowPlan(), _Verdicts()
    _refuse_problems(target.path)
    for row in every_row(target.path):
        origin = origin_of_row(row, target.identity)
        plan.by_origin[origin] = plan.hashes[row.hash] = plan.hashes[origin[1]] = row.hash
        keys.note(row, -1, origin, target.path)
    for number, source in enumerate(sources):
        identity, time = journal_identity(source), ""
        for row in every_row(source):
            origin, time = origin_of_row(row, identity), max(time, row.time)
            if origin in plan.by_origin:
                plan.known += 1
                plan.hashes[row.hash] = plan.by_origin[origin]
                continue
            same = keys.note(row, number, origin, source)
            if same is None:
                plan.entries.append(Entry(time, number, row.sequence, origin))
                plan.by_origin[origin] = ""
                plan.coming.add(row.hash)
            else:
                plan.twice += 1
                plan.duplicates[row.hash] = same
    plan.entries.sort(key=lambda entry: (entry.time, entry.journal, entry.sequence))
    return plan


def append_rows(
    plan: RowPlan, sources: Sequence[Path], target: Journal, moved: Mapping[str, str]
) -> dict[str, str]:
    """Append what is new; gives old hash to the hash in the merged journal, for all rows.

    moved : hash of a verdict's row to the folder in which its results lie now.

    A row keeps its time and its content, and says where it comes from. When this is stopped,
    planning again finds what was appended. Raises StorageError.
    """
    readers = [every_row(source) for source in sources]
    for entry in plan.entries:
        row = next(one for one in readers[entry.journal] if one.sequence == entry.sequence)
        content = {**row.content}
        if content.get("record") in plan.duplicates or content.get("record") in plan.hashes:
            content["record"] = _now(plan, str(content["record"]))
        if row.hash in moved:
            content["results"] = moved[row.hash]
        journal, digest = entry.origin
        new = target.append_copy(row, {**content, MERGED: {"journal": journal, "record": digest}})
        plan.hashes[row.hash] = plan.hashes[digest] = plan.by_origin[entry.origin] = new
    return {**plan.hashes, **{old: _now(plan, old) for old in plan.duplicates}}


def _now(plan: RowPlan, digest: str) -> str:
    same = plan.duplicates.get(digest)
    return plan.hashes[digest] if same is None else plan.by_origin[same]


class _Verdicts:
    """Verdicts of scored slides by their key, so that none is taken from two journals."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, str, Origin, str]] = {}

    def note(self, row: Row, journal: int, origin: Origin, path: Path) -> Origin | None:
        """Take a row; gives the origin of one of another journal that says the same."""
        content = row.content if row.kind == VERDICT else {}
        key = str(content.get("slide_key", ""))
        if not key:
            return None
        said = sha256(json.dumps(steady_fields(content), sort_keys=True).encode("ascii"))
        name = f"{printable(str(path))} (row {row.sequence}: {content.get('verdict')})"
        seen = self._seen.setdefault(key, (journal, said, origin, name))
        if seen[0] == journal:
            self._seen[key] = (journal, said, origin, name)  # a journal's last word on it counts
            return None
        if seen[1] != said:
            slide = printable(str(content.get("slide", "")))
            what = f"two journals answer otherwise for slide {slide}"
            mend = "find out why, and merge all but one of them"
            raise StorageError(what, f"{seen[3]} and {name}", mend)
        return seen[2]


def _refuse_changed(source: Path, target: Path) -> None:
    if source.resolve() == target:
        mend = "leave it out: its rows are there already"
        raise StorageError("journal would be merged into itself", printable(str(source)), mend)
    _refuse_problems(source)


def _refuse_problems(path: Path) -> None:
    problems = verify(path).problems
    if problems:
        which = f"{printable(str(path))} ({problems[0].text})"
        mend = "keep it for inquiry and put back a copy"
        raise StorageError("journal is not as it was written", which, mend)
