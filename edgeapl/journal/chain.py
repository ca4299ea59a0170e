"""One row of the journal and the hash that links it to its predecessor."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from edgeapl.bundle.digest import sha256_of_parts
from edgeapl.errors import StorageError

DOMAIN = "edgeapl journal 1"
"""Prefix of everything hashed, so that no other digest of ours can pass for a row's."""

BEFORE_FIRST = "0" * 64
"""Previous hash of row 0."""

OPENED = "opened"
PROVISIONAL = "provisional"
VERDICT = "verdict"
AMENDMENT = "amendment"
ACKNOWLEDGEMENT = "acknowledgement"
NOTICE = "notice"
BUNDLE = "bundle"

MERGED = "merged"
"""Field of a row that another journal had first: that journal's identity, and the row's hash."""

EVENTS = (AMENDMENT, ACKNOWLEDGEMENT, NOTICE, BUNDLE)
"""Kinds of row that refer to earlier rows."""


def row_hash(sequence: int, time: str, kind: str, payload: str, previous: str) -> str:
    """Return SHA-256 (hex) over the parts of a row, each preceded by its length."""
    return sha256_of_parts([DOMAIN, str(sequence), time, kind, payload, previous])


@dataclass(frozen=True, slots=True)
class Row:
    """One row as stored in the database, whether genuine or not.

    sequence : 0 for the row that opens the journal, then 1, 2, 3 without gaps.
    time : UTC, ISO 8601 with microseconds and a Z.
    kind : ``"opened"``, ``"provisional"`` (the answer for a slide that is still open),
        ``"verdict"``, ``"amendment"``, ``"acknowledgement"`` (a person has seen the flag in a row)
        ``"notice"`` (the command for flags was run for a row) or ``"bundle"`` (the station is to
        use another bundle).
    payload : canonical JSON.
    previous : hash of the previous row.
    hash : SHA-256 (hex) of all the above.
    """

    sequence: int
    time: str
    kind: str
    payload: str
    previous: str
    hash: str

    @classmethod
    def next(cls, previous: Row | None, time: str, kind: str, payload: str) -> Row:
        """Make the row that follows `previous`; None makes the first."""
        sequence = 0 if previous is None else previous.sequence + 1
        before = BEFORE_FIRST if previous is None else previous.hash
        made = row_hash(sequence, time, kind, payload, before)
        return cls(sequence, time, kind, payload, before, made)

    def hash_at(self, sequence: int) -> str:
        """Return the hash that the content would have at another place in the chain."""
        return row_hash(sequence, self.time, self.kind, self.payload, self.previous)

    @property
    def consistent(self) -> bool:
        """Whether the hash matches the content."""
        return self.hash == self.hash_at(self.sequence)

    @property
    def content(self) -> dict[str, Any]:
        """The payload as values. Raises StorageError when it is not a JSON object."""
        try:
            content = json.loads(self.payload)
        except ValueError as error:
            raise StorageError("journal row is not JSON", self.sequence, str(error)) from error
        if not isinstance(content, dict):
            raise StorageError("journal row is not a JSON object", self.sequence)
        return content


def origin_of_row(row: Row, identity: str) -> tuple[str, str]:
    """Return the identity of the journal that had a row first, and the row's hash there.

    identity : of the journal in which the row stands.
    """
    merged = row.content.get(MERGED)
    if isinstance(merged, dict):
        return str(merged.get("journal", "")), str(merged.get("record", ""))
    return identity, row.hash
