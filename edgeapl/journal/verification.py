"""Checking a whole journal: rows, anchor, and the guards of the database."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edgeapl.journal import schema
from edgeapl.journal.anchor import Anchor, anchor_line, is_prefix_or_unwritten, read_anchor
from edgeapl.journal.location import anchor_path
from edgeapl.journal.reader import snapshot
from edgeapl.journal.tamper_diagnosis import Link, Problem, check_against_anchor, check_chain


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of `verify`.

    rows : number of rows in the journal, without the one that opens it.
    newest : hash of the newest row; empty if there is none.
    problems : in row order; none if the journal is as it was written.
    """

    rows: int
    newest: str
    problems: tuple[Problem, ...]


def verify(path: Path) -> VerifyReport:
    """Check every row against its hash, its predecessor and the anchor.

    Safe while others commit. Raises StorageError when there is no journal or it cannot be read
    at all.
    """
    file = anchor_path(Path(os.path.realpath(path)))
    with schema.storage_errors(path):
        # Rows may be committed meanwhile: all that was anchored before must be in the snapshot, and
        # all rows of the snapshot except the newest must be anchored afterwards.
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
        *(_of_database(f"table or trigger is not as it was created: {name}") for name in guards),
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
        problems = list(check_chain(links))
        if before is not None or newest > 0:  # a new journal has row 0 before it has an anchor
            text = "anchor is missing: newest rows may have been cut off without a trace"
            problems.append(_of_anchor(text))
    else:
        seen_before = len(before.hashes) if before else 0
        problems = list(check_against_anchor(links, after.hashes[: max(seen_before, newest + 1)]))
        # Trailing bytes that were not there both times belong to a row being written right now.
        if after.unfinished and after == before and not _explained(after, links):
            problems.append(_of_anchor("anchor ends in something that is not a row"))
    return sorted(problems, key=lambda problem: (problem.sequence or -1, problem.kind))


def _explained(anchor: Anchor, links: list[Link]) -> bool:
    """Return whether the unfinished end is the start of the newest row's line."""
    if not links or links[-1].sequence != len(anchor.hashes):
        return False
    return is_prefix_or_unwritten(
        anchor.unfinished, anchor_line(links[-1].sequence, links[-1].hash)
    )
