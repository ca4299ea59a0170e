"""The journal's database: its table, its triggers, and how it is opened."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeapl.errors import StorageError
from edgeapl.journal.chain import Row
from edgeapl.journal.disk_reserve import disk_is_full

APPLICATION_ID = 0x41504C4A
"""``APLJ``: marks an SQLite file as a journal (sqlite.org/fileformat.html, offset 68)."""

SCHEMA = 1
"""Version of the table, kept as SQLite's user_version."""

TABLE = "records"

STATEMENTS = {
    "records": """CREATE TABLE records (
    sequence INTEGER PRIMARY KEY,
    time TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE
)""",
    "never_changed": """CREATE TRIGGER never_changed BEFORE UPDATE ON records
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    "never_deleted": """CREATE TRIGGER never_deleted BEFORE DELETE ON records
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    # Also keeps INSERT OR REPLACE from removing a row, which fires no DELETE trigger.
    "only_appended": """CREATE TRIGGER only_appended BEFORE INSERT ON records
WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), -1) + 1 FROM records)
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
}

COLUMNS = "sequence, time, kind, payload, previous, hash"

MEND = {
    "disk is full": ("disk is full", "make room and run the command again"),
    "readonly": ("journal cannot be written", "make the file and its folder writable"),
    "unable to open": (
        "journal cannot be opened",
        "check that file and folder may be read and written",
    ),
    "not a database": ("file is not a journal", "choose another file"),
    "malformed": ("journal is damaged", "keep the file as evidence and restore a copy"),
    "locked": ("journal is busy", "another program is using it: close that one and try again"),
    "disk I/O error": ("disk failed", "check the disk, its limits and the system log"),
}
"""SQLite's messages (sqlite3_errstr) to ours. Python exposes error codes only from 3.11."""


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and the system into a StorageError."""
    try:
        yield
    except sqlite3.Error as error:
        for words, (what, mend) in MEND.items():
            if words in str(error):
                raise StorageError(what, path, mend) from error
        raise StorageError("journal cannot be used", path, str(error)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        which = error.filename or path
        if disk_is_full(error):
            raise StorageError("disk is full", which, MEND["disk is full"][1]) from error
        mend = "check the rights to the folder and its limits"
        raise StorageError(f"journal cannot be kept ({reason})", which, mend) from error


def connect(path: Path, mode: str, busy_s: float) -> sqlite3.Connection:
    """Open the file; mode is one of SQLite's URI options, e.g. ``"mode=ro"``."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?{mode}",
        uri=True,
        timeout=busy_s,
        isolation_level=None,
        check_same_thread=False,
    )
    # Edited text need not be valid UTF-8, but must still be readable to be reported.
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    return connection


def recognise(connection: sqlite3.Connection, path: Path) -> bool:
    """Tell a journal (True) from an empty database. Raises StorageError for anything else."""
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    objects = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if not (application or version or objects):
        return False
    if application != APPLICATION_ID or version < 1:
        raise StorageError("database is not a journal of EdgeAPL", path, "choose another file")
    if version > SCHEMA:
        raise StorageError(
            "journal was written by a newer EdgeAPL",
            f"{path} (version {version}, this one knows {SCHEMA})",
            "update EdgeAPL",
        )
    return True


def make_durable(connection: sqlite3.Connection, path: Path, busy_s: float) -> None:
    """Switch to a write-ahead log that is flushed at every commit."""
    deadline = time.monotonic() + busy_s
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            # Unlike other statements, the switch itself does not wait for other connections.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise StorageError(
            "journal cannot keep a write-ahead log", path, "choose a folder on a local disk"
        )
    connection.execute("PRAGMA synchronous=FULL")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock from the start; roll back if an error leaves the block."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            # SQLite has often rolled back already; the first error is the one to report.
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")


def create_table(connection: sqlite3.Connection) -> None:
    """Create table and triggers inside the caller's transaction."""
    for statement in STATEMENTS.values():
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={SCHEMA}")


def changed_guards(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return the names of the table and triggers that are missing, changed or unexpected."""
    query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
    found = {str(name): sql for name, sql in connection.execute(query)}
    names = sorted(STATEMENTS.keys() | found.keys())
    return tuple(name for name in names if STATEMENTS.get(name) != found.get(name))


def newest_row(connection: sqlite3.Connection) -> Row | None:
    """Return the row with the highest number."""
    rows = list(select_rows(connection, "ORDER BY sequence DESC LIMIT 1"))
    return rows[0] if rows else None


def select_rows(
    connection: sqlite3.Connection, clause: str, values: tuple[object, ...] = ()
) -> Iterator[Row]:
    """Yield rows. The clause must be ours; only the values may come from outside."""
    for values_of_row in connection.execute(f"SELECT {COLUMNS} FROM {TABLE} {clause}", values):  # noqa: S608
        sequence, *texts = values_of_row
        # A value of another type can only come from an edit; as text it fails its hash.
        yield Row(int(sequence), *(x if isinstance(x, str) else repr(x) for x in texts))
