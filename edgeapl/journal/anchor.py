"""The anchor: number and hash of every row in a separate file, which reveals missing newest rows.

One line of 78 bytes per row, ``SEQUENCE HASH``, starting with row 0. A row is committed to the
database, then anchored, then acknowledged; and no row is committed before its predecessor is
anchored. So the anchor never names a row that the database lacks, and lacks at most the newest row.
All writing happens inside the database's write lock.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edgeapl.errors import StorageError
from edgeapl.journal.chain import Row

LINE_BYTES = 78
"""12 digits, a space, 64 hex digits, a line feed."""

MEND = "run 'edgeapl journal verify'; to go on, move journal and anchor away together"


@dataclass(frozen=True, slots=True)
class Anchor:
    """The contents of an anchor file.

    hashes : one per line, from row 0; None where the line is damaged.
    unfinished : bytes after the last complete line.
    """

    hashes: tuple[str | None, ...]
    unfinished: bytes


def anchor_line(sequence: int, digest: str) -> bytes:
    """Return the line of a row."""
    return f"{sequence:012d} {digest}\n".encode("ascii")


def read_anchor(path: Path) -> Anchor | None:
    """Read the whole anchor; None if there is none. Raises OSError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    count = _finished(len(data), data[max(0, len(data) // LINE_BYTES - 1) * LINE_BYTES :])
    lines = (data[i * LINE_BYTES : (i + 1) * LINE_BYTES] for i in range(count))
    hashes = tuple(_hash_of(index, line) for index, line in enumerate(lines))
    return Anchor(hashes, data[count * LINE_BYTES :])


def sync_anchor(path: Path, head: Row, journal: Path) -> None:
    """Make the anchor end with the newest row of the database, and flush it to disk.

    If only that line is missing it is added; if its writer was stopped in the middle it is
    completed. The row proves both. The newest line is written even if it is already there: a flush
    that failed may have left it in memory only.

    Raises StorageError when anchor and database contradict each other, and OSError.
    """
    first = head.sequence == 0
    try:
        file = os.open(path, os.O_RDWR | (os.O_CREAT if first else 0), 0o666)
    except FileNotFoundError as error:
        raise StorageError("journal has lost its anchor", path, MEND) from error
    try:
        _check(file, head, journal)
        _write_at(file, anchor_line(head.sequence, head.hash), head.sequence * LINE_BYTES)
        os.fsync(file)
    finally:
        os.close(file)
    if first:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that new files keep their names."""
    if os.name != "posix":
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _check(file: int, head: Row, journal: Path) -> None:
    size = os.fstat(file).st_size
    tail = _read_at(file, max(0, size // LINE_BYTES - 1) * LINE_BYTES)
    count = _finished(size, tail)
    if count > head.sequence + 1:
        lost = f"row {head.sequence + 1}" + (
            f" to {count - 1}" if count > head.sequence + 2 else ""
        )
        raise StorageError("journal has lost its newest rows", f"{journal} ({lost})", MEND)
    newest = anchor_line(head.sequence, head.hash)
    before = anchor_line(head.sequence - 1, head.previous) if head.sequence else b""
    stands = _read_at(file, max(0, head.sequence - 1) * LINE_BYTES)
    whole, rest = stands[: len(before)], stands[len(before) :]
    if whole != before or not is_prefix_or_unwritten(rest, newest):
        raise StorageError("journal chain is broken", f"{journal} (row {head.sequence})", MEND)


def _finished(size: int, tail: bytes) -> int:
    """Count complete lines; `tail` starts at the last whole one.

    After a power cut a file system may keep the new length but not the bytes, which then read as
    zeros; such a line counts as incomplete.
    """
    count = size // LINE_BYTES
    return count - 1 if count and b"\0" in tail[:LINE_BYTES] else count


def is_prefix_or_unwritten(start: bytes, line: bytes) -> bool:
    """Return whether these bytes are the line, a part of it, or were never written (zeros)."""
    return len(start) <= len(line) and all(
        have in (0, want) for have, want in zip(start, line, strict=False)
    )


def _hash_of(index: int, line: bytes) -> str | None:
    number, _, digest = line.decode("ascii", "replace").rstrip("\n").partition(" ")
    plain = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    return digest if plain and number == f"{index:012d}" and line[-1:] == b"\n" else None


def _read_at(file: int, offset: int) -> bytes:
    os.lseek(file, offset, os.SEEK_SET)
    parts = []
    while part := os.read(file, 1 << 16):
        parts.append(part)
    return b"".join(parts)


def _write_at(file: int, data: bytes, offset: int) -> None:
    os.lseek(file, offset, os.SEEK_SET)
    while data:
        data = data[os.write(file, data) :]
