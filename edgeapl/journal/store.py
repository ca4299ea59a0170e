"""The journal, open for writing."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from edgeapl import __version__
from edgeapl.errors import StorageError
from edgeapl.journal import anchor, schema
from edgeapl.journal.chain import EVENTS, OPENED, PROVISIONAL, VERDICT, Row
from edgeapl.journal.disk_reserve import (
    RESERVE_BYTES,
    allocate_reserve,
    disk_is_full,
    release_reserve,
)
from edgeapl.journal.location import anchor_path, refuse_network_share, reserve_path
from edgeapl.journal.record import canonical, verdict_to_json
from edgeapl.types import Verdict
from edgeapl.wall_clock import utc_now

BUSY_S = 30.0
"""How long to wait for other writers; one commit takes milliseconds."""

Done = TypeVar("Done")


class Journal:
    """Appends permanent rows. Also a context manager.

    Whatever `commit` has returned survives a killed process and a power cut (SQLite's write-ahead
    log, flushed at every commit). A commit that raises may still have stored its row: a verdict can
    be recorded twice but never lost. Several processes and threads may commit to one journal.

    reserve_used : True once the disk was full and the space reserved for one more verdict was
        released. A journal cannot be opened again until that space can be reserved again.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, now: Callable[[], datetime]
    ) -> None:
        self.path = path
        self.reserve_used = False
        self._connection = connection
        self._now = now
        self._lock = threading.Lock()
        self._settled = ""

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        now: Callable[[], datetime] = utc_now,
        reserve_bytes: int = RESERVE_BYTES,
        busy_s: float = BUSY_S,
    ) -> Journal:
        """Open a journal, creating it and its folder if needed.

        Raises StorageError when the place is not writable or is a network share, the disk is nearly
        full, the file is not a journal or is a newer one, or its newest row contradicts the anchor.
        """
        path = Path(os.path.realpath(path))
        with schema.storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            refuse_network_share(path)
            # The database is created before the anchor, so checking the anchor first is the
            # safe order.
            if _anchored(path) and not path.exists():
                _refuse_lost(path)
            if path.exists() and not path.is_file():
                raise StorageError("journal is not a plain file", path, "choose another file")
            connection = schema.connect(path, "mode=rwc", busy_s)
            journal = cls(path, connection, now)
            try:
                journal._prepare(busy_s)
                allocate_reserve(reserve_path(path), reserve_bytes)
            except BaseException:
                connection.close()
                raise
        return journal

    def commit(self, verdict: Verdict, *, provisional: bool = False) -> str:
        """Store a verdict, and return the hash of its row once it is all on disk.

        provisional : the slide is still open and another verdict will follow.
        """
        return self._append(PROVISIONAL if provisional else VERDICT, verdict_to_json(verdict))

    def append_event(self, kind: str, payload: Mapping[str, Any]) -> str:
        """Store an event about earlier rows; `kind` is one of `EVENTS`."""
        if kind not in EVENTS:
            mend = f"use {', '.join(EVENTS)}"
            raise StorageError("journal does not know this kind of row", kind, mend)
        return self._append(kind, payload)

    def append_copy(self, row: Row, content: Mapping[str, Any]) -> str:
        """Store a row of another journal under the time at which it was committed there.

        content : its payload, which says where it comes from: see `chain.MERGED`.
        """
        return self._append(row.kind, content, row.time)

    @property
    def identity(self) -> str:
        """Identity of this journal: random, drawn when it was created."""
        with self._lock, schema.storage_errors(self.path):
            rows = list(schema.select_rows(self._connection, "WHERE sequence = 0"))
        return str(rows[0].content.get("id", "")) if rows else ""

    def has(self, digest: str) -> bool:
        """Return whether a row has this hash. Raises StorageError when that row was edited."""
        with self._lock, schema.storage_errors(self.path):
            rows = list(schema.select_rows(self._connection, "WHERE hash = ?", (digest,)))
        for row in rows:
            if not row.consistent:
                which = f"{self.path} (row {row.sequence})"
                raise StorageError("journal chain is broken", which, anchor.MEND)
        return bool(rows)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self, busy_s: float) -> None:
        """Bring database and anchor to the state in which the first row can be appended."""
        schema.recognise(self._connection, self.path)  # before anything in a foreign file changes
        schema.make_durable(self._connection, self.path, busy_s)
        with schema.transaction(self._connection):
            if not schema.recognise(self._connection, self.path):
                if _anchored(self.path):
                    _refuse_lost(self.path)
                schema.create_table(self._connection)
                origin = {"id": secrets.token_hex(16), "software": f"edgeapl {__version__}"}
                self._insert(Row.next(None, self._time(), OPENED, canonical(origin)))
        with schema.transaction(self._connection):
            self._settle()

    def _append(self, kind: str, content: Mapping[str, Any], time: str = "") -> str:
        payload = canonical(content)

        def insert() -> Row:
            with schema.transaction(self._connection):
                # No row is added before its predecessor is anchored, so the anchor lacks at most
                # one.
                row = Row.next(self._settle(), time or self._time(), kind, payload)
                self._insert(row)
            return row

        def settle() -> Row:
            with schema.transaction(self._connection):
                return self._settle()

        with self._lock, schema.storage_errors(self.path):
            row = self._with_reserve(insert)
            self._with_reserve(settle)
        return row.hash

    def _settle(self) -> Row:
        """Anchor the newest row unless this object already has; inside the write lock."""
        head = schema.newest_row(self._connection)
        if head is None or not head.consistent:
            which = self.path if head is None else f"{self.path} (row {head.sequence})"
            raise StorageError("journal chain is broken", which, anchor.MEND)
        if head.hash != self._settled:
            anchor.sync_anchor(anchor_path(self.path), head, self.path)
            self._settled = head.hash
        return head

    def _insert(self, row: Row) -> None:
        self._connection.execute(
            f"INSERT INTO {schema.TABLE} ({schema.COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
            (row.sequence, row.time, row.kind, row.payload, row.previous, row.hash),
        )

    def _with_reserve(self, step: Callable[[], Done]) -> Done:
        """Run `step`; if the disk is full, release the reserve and run it once more."""
        try:
            return step()
        except (sqlite3.Error, OSError) as error:
            if not disk_is_full(error) or not release_reserve(reserve_path(self.path)):
                raise
        self.reserve_used = True
        return step()

    def _time(self) -> str:
        return self._now().astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _anchored(path: Path) -> bool:
    file = anchor_path(path)
    return file.exists() and file.stat().st_size > 0


def _refuse_lost(path: Path) -> NoReturn:
    raise StorageError(
        "journal has lost all its rows",
        path,
        f"its anchor is still there: put back a copy, or move {anchor_path(path).name} away",
    )
