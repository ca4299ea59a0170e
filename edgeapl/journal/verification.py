"""Checking a whole journal: rows, anchor, and the guards of the database."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edgeapl.journal import schema
from edgeapl.journal.anchor import Anchor, anchor_line, could_become, read_anchor
from edgeapl.journal.location import anchor_path
from edgeapl.journal.reader import snapshot
from edgeapl.journal.tamper_diagnosis import Link, Problem, compare, follow


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` found.

    rows : rows of the journal, without the one that opens it.
    newest : hash of the newest row; empty when there is none.
    problems : in the order of the rows; none when the journal is as it was written.
    """

    rows: int
    newest: str
    problems: tuple[Problem, ...]


def verify(path: Path) -> VerifyReport:
    """Check every row against its hash, the row before and the anchor.

    May run while others commit. Raises StorageError when there is no journal or it can not be
    read at all.
    """
    file = anchor_path(Path(os.path.realpath(path)))
    with schema.storage_errors(path):
        # Rows may be committed meanwhile: all that was anchored before must be in the snapshot,
        # and all but the newest of the snapshot must be anchored after.
        before = read_anchor(file)
        with snapshot(path) as connection:
            links = [
                Link(row.sequence, row.previous, row.hash, row.consistent)
                for row in schema.select_rows(connection, "ORDER BY sequence")
            ]
            damage = [str(text) for (text,) in connection.execute("PRAGMA integrity_check")]
            guards = schema.changed_guards(connection)
        after = read_anchor(file)
    problems = [
        *(_of_database(f"database is damaged: {text}") for text in damage if text != "ok"),
        *(_of_database(f"table or guard is not as it was made: {name}") for name in guards),
        *_of_chain(links, before, after),
    ]
    rows = sum(link.sequence != 0 for link in links)
    return VerifyReport(rows, links[-1].hash if links else "", tuple(problems))


def _of_database(text: str) -> Problem:
    return Problem(None, "database", text)


def _of_anchor(text: str) -> Problem:
    return Problem(None, "anchor", text)


def _of_chain(links: list[Link], before: Anchor | None, after: Anchor | None) -> list[Problem]:
    newest = links[-1].sequence if links else -1
    if after is None:
        problems = list(follow(links))
        if before is not None or newest > 0:  # a new journal has its row 0 before its anchor
            text = "anchor is missing: newest rows may have been cut off without a trace"
            problems.append(_of_anchor(text))
    else:
        seen_before = len(before.hashes) if before else 0
        problems = list(compare(links, after.hashes[: max(seen_before, newest + 1)]))
        # Bytes that are not there before and after belong to a row that is just being written.
        if after.unfinished and after == before and not _explained(after, links):
            problems.append(_of_anchor("anchor ends in something that is no row"))
    return sorted(problems, key=lambda problem: (problem.sequence or -1, problem.kind))


def _explained(anchor: Anchor, links: list[Link]) -> bool:
    """Say whether the unfinished end is the start of the newest row's line."""
    if not links or links[-1].sequence != len(anchor.hashes):
        return False
    return could_become(anchor.unfinished, anchor_line(links[-1].sequence, links[-1].hash))
