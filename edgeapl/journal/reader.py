"""Reading a journal without ever creating or changing one."""

from __future__ import annotations

import os
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgeapl.errors import StorageError, UsageError
from edgeapl.journal import schema
from edgeapl.journal.anchor import MEND
from edgeapl.journal.chain import MERGED, Row, origin_of_row
from edgeapl.journal.location import anchor_path, share_of
from edgeapl.journal.record import canonical
from edgeapl.wording.names import canonical_name

BUSY_S = 10.0

MIN_HASH_DIGITS = 8
"""A shorter hash is taken for a row number, which has at most 7 digits."""


@contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield the database as it is now, read-only.

    Raises StorageError when there is none, it is not a journal, or a newer version wrote it.
    """
    path = Path(os.path.realpath(path))
    if not path.exists():
        raise _nothing(path)
    if not path.is_file():
        raise StorageError("journal is not a plain file", path, "choose another file")
    with schema.storage_errors(path):
        connection = _open(path)
        try:
            connection.execute("BEGIN")
            if not schema.recognise(connection, path):
                raise _nothing(path)
            yield connection
        finally:
            connection.close()


def read_rows(path: Path, last: int | None = None, kinds: Sequence[str] = ()) -> tuple[Row, ...]:
    """Return the rows, oldest first, without the opening one; or only the `last` ones.

    kinds : only rows of these kinds; empty for all. Rows are returned as stored; see
    `Row.consistent` and `edgeapl.journal.verify`.
    """
    places = ", ".join("?" for _ in kinds)
    clause = f"WHERE sequence > 0{f' AND kind IN ({places})' if kinds else ''}"
    values = (*kinds, -1 if last is None else last)  # SQLite ignores a negative limit
    with snapshot(path) as connection:
        rows = schema.select_rows(connection, f"{clause} ORDER BY sequence DESC LIMIT ?", values)
        return tuple(rows)[::-1]


def every_row(path: Path) -> Iterator[Row]:
    """Yield all rows, oldest first, without the opening one; one is in memory at a time.

    Rows that are committed meanwhile are left out. Raises StorageError.
    """
    with snapshot(path) as connection:
        yield from schema.select_rows(connection, "WHERE sequence > 0 ORDER BY sequence")


def journal_identity(path: Path) -> str:
    """Return what no other journal has. Raises StorageError."""
    with snapshot(path) as connection:
        rows = list(schema.select_rows(connection, "WHERE sequence = 0"))
    return str(rows[0].content.get("id", "")) if rows else ""


def row_with_hash(path: Path, digest: str) -> Row:
    """Return the row with a whole hash. Raises StorageError when there is none or it was edited."""
    with snapshot(path) as connection:
        rows = list(schema.select_rows(connection, "WHERE hash = ?", (digest,)))
    if not rows or not rows[0].consistent:
        raise StorageError("journal row has gone or was edited", f"{digest} in {path}", MEND)
    return rows[0]


def read_rows_after(path: Path, sequence: int, kinds: Sequence[str]) -> tuple[Row, ...]:
    """Return the rows of these kinds after row `sequence`, oldest first."""
    places = ", ".join("?" for _ in kinds)
    clause = f"WHERE sequence > ? AND kind IN ({places}) ORDER BY sequence"
    with snapshot(path) as connection:
        return tuple(schema.select_rows(connection, clause, (sequence, *kinds)))


def rows_with(path: Path, kind: str, name: str, value: str) -> tuple[Row, ...]:
    """Return the rows of a kind whose field has this text, oldest first, without edited ones.

    Texts are compared in Unicode NFC; older versions kept names unnormalised.
    """
    wanted = canonical_name(value)
    forms = dict.fromkeys((value, wanted, unicodedata.normalize("NFD", wanted)))
    held = [
        canonical({name: form})[1:-1] for form in forms
    ]  # as in the payload, which is canonical
    with snapshot(path) as connection:
        found = " OR ".join(["instr(payload, ?) > 0"] * len(held))
        clause = f"WHERE kind = ? AND ({found}) ORDER BY sequence"
        rows = tuple(schema.select_rows(connection, clause, (kind, *held)))
    return tuple(row for row in rows if row.consistent and _has(row, name, wanted))


def _has(row: Row, name: str, wanted: str) -> bool:
    text = row.content.get(name)
    return isinstance(text, str) and canonical_name(text) == wanted


def find_row(path: Path, key: str) -> Row:
    """Return the row with this number or hash; 8 or more leading digits of a hash are enough.

    Raises UsageError when no row or several match, StorageError when the row was edited.
    """
    key = key.strip().lower()
    with snapshot(path) as connection:
        if key.isascii() and key.isdigit() and len(key) < MIN_HASH_DIGITS:
            rows = list(schema.select_rows(connection, "WHERE sequence = ?", (int(key),)))
        elif len(key) >= MIN_HASH_DIGITS and set(key) <= set("0123456789abcdef"):
            # The index serves whole hashes, and a range of them; substr would read every row.
            where = "WHERE hash >= ? AND hash < ?"
            rows = list(schema.select_rows(connection, where, (key, key + "g")))
            rows = rows or _merged_rows(connection, key)
        else:
            raise UsageError(
                "neither a row number nor a hash", key, f"give {MIN_HASH_DIGITS} digits or more"
            )
    if len(rows) != 1:
        what = "more than one row has this hash" if rows else "journal has no such row"
        raise UsageError(what, f"{key} in {path}", "see 'edgeapl journal list'")
    if not rows[0].consistent:
        raise StorageError("journal row was edited", f"{path} (row {rows[0].sequence})", MEND)
    return rows[0]


def _merged_rows(connection: sqlite3.Connection, key: str) -> list[Row]:
    """Return the rows that had a hash in the journal they were merged from."""
    clause = "WHERE instr(payload, ?) > 0 AND instr(payload, ?) > 0"
    held = (f'"{MERGED}":{{', f'"record":"{key}')
    found = schema.select_rows(connection, clause, held)
    return [row for row in found if origin_of_row(row, "")[1].startswith(key)]


def _open(path: Path) -> sqlite3.Connection:
    """Open for reading; on a read-only medium SQLite can do that only if no log is left over."""
    if kind := share_of(path):
        return _open_on_share(path, kind)
    connection = schema.connect(path, "mode=ro", BUSY_S)
    try:
        connection.execute("PRAGMA application_id").fetchone()
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if "readonly" in str(error) and path.with_name(path.name + "-journal").exists():
            raise _nothing(path) from error  # its creation was cut short, before the first row
        writable = os.access(path.parent, os.W_OK)
        if "unable to open" not in str(error) or _log_left_over(path) or writable:
            raise
        return schema.connect(path, "mode=ro&immutable=1", BUSY_S)
    except BaseException:
        connection.close()
        raise
    return connection


def _open_on_share(path: Path, kind: str) -> sqlite3.Connection:
    """Open a copy on a network share, whose log no other machine sees, if it has been closed."""
    if _log_left_over(path):
        mend = "copy it to a local disk together with its -wal and .anchor files, and read it there"
        raise StorageError("journal on a network share is in use", f"{path} ({kind})", mend)
    return schema.connect(path, "mode=ro&immutable=1", BUSY_S)


def _log_left_over(path: Path) -> bool:
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def _nothing(path: Path) -> StorageError:
    if anchor_path(path).exists():
        mend = "its anchor is still there: put back a copy"
        return StorageError("journal has lost all its rows", path, mend)
    return StorageError("there is no journal", path, "the first verdict makes it")
