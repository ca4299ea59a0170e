"""A disk that is full, small, read-only or failing costs no row that was acknowledged."""

from __future__ import annotations

import errno
import os
import re
import shlex
from pathlib import Path

import pytest

from edgeapl.errors import StorageError
from edgeapl.journal import Journal, read_rows, verify
from edgeapl.journal.location import reserve_path
from tests.faults.conftest import Worker
from tests.faults.journal_worker import make_verdict

HASH = re.compile(r"[0-9a-f]{64}")
ERROR = re.compile(r"error: (disk is full|disk failed|journal cannot be kept \([^)]+\)): /.*: .*")

FAILURES = [
    *(("pwrite64", "EIO", nth) for nth in (1, 9, 14)),
    *(("pwrite64", "ENOSPC", nth) for nth in (2, 10, 15)),
    *(("fdatasync", "EIO", nth) for nth in (2, 4, 5)),
    *(("write", "ENOSPC", nth) for nth in (1, 3)),
    *(("write", "EIO", nth) for nth in (2,)),
    *(("fsync", "EIO", nth) for nth in (1, 3)),
    *(("fallocate", "ENOSPC", nth) for nth in (1,)),
]
"""Call, error and which of these calls it hits, in a run of about 40 that makes a journal, commits
three verdicts and closes it."""


def check(path: Path, lines: list[str], *, fails: bool) -> list[str]:
    """Check what a worker said against what it left behind; give the hashes it acknowledged."""
    acknowledged = [line for line in lines if HASH.fullmatch(line)]
    others = [line for line in lines if not HASH.fullmatch(line) and line != "reserve used"]
    assert len(others) == fails
    assert all(ERROR.fullmatch(line) for line in others), others
    if acknowledged or path.exists():
        with Journal.open(path, reserve_bytes=0) as journal:
            journal.commit(make_verdict(9))
        kept = [row.hash for row in read_rows(path)]
        assert [digest for digest in kept if digest in set(acknowledged)] == acknowledged
        assert verify(path).problems == ()
    return acknowledged


@pytest.mark.parametrize(("call", "error", "nth"), FAILURES)
def test_one_failed_call_loses_no_acknowledged_row(
    tmp_path: Path, journal_worker: Worker, strace: str, call: str, error: str, nth: int
) -> None:
    path = tmp_path.resolve() / "journal.sqlite3"
    files = [f"{path}{end}" for end in ("", "-journal", "-wal", ".anchor", ".reserve")]
    inject = f"inject={call}:error={error}:when={nth}"
    before = [strace, "-o", str(tmp_path / "log"), *(part for f in files for part in ("-P", f))]
    lines = journal_worker("commit", path, 3, before=(*before, "-e", inject))
    assert "(INJECTED)" in (tmp_path / "log").read_text(), "the call was never made"
    saved = error == "ENOSPC" and "reserve used" in lines
    # The last calls clean up when the journal is closed, after all was acknowledged.
    late = len([line for line in lines if HASH.fullmatch(line)]) == 3
    check(path, lines, fails=not (saved or late))


def test_files_that_may_not_grow_end_in_one_error_and_lose_nothing(
    tmp_path: Path, journal_worker: Worker
) -> None:
    path = tmp_path / "journal.sqlite3"
    lines = journal_worker("limited", path, 10_000, 200_000)
    assert len(check(path, lines, fails=True)) > 5


def on_small_disk(unshare: str, size: str, folder: Path, script: str) -> tuple[str, ...]:
    """Give the words that run a script on a small disk of its own, and copy the disk at the end.

    In the script "$@" is the worker with all its arguments.
    """
    disk = folder / "disk"
    disk.mkdir()
    text = f"""
        mount -t tmpfs -o size={size} none {shlex.quote(str(disk))}
        {script}
        cp -r {shlex.quote(str(disk))} {shlex.quote(str(folder / "copy"))}
    """
    return (unshare, "-rm", "sh", "-ec", text, "sh")


def test_on_a_full_disk_the_room_that_was_kept_takes_one_more_verdict(
    tmp_path: Path, journal_worker: Worker, own_mounts: str
) -> None:
    before = on_small_disk(own_mounts, "512k", tmp_path, '"$@"; echo again; "$@"')
    path = tmp_path / "disk" / "journal.sqlite3"
    lines = journal_worker("commit", path, 2000, before=before)
    again = lines.index("again")
    assert lines[again - 1].startswith("error: disk is full: ")
    used = lines.index("reserve used")
    assert HASH.fullmatch(lines[used + 1])
    # Nothing new is begun before that room can be kept again.
    assert len(lines) == again + 2
    assert lines[again + 1].startswith("error: disk is full: ")
    copy = tmp_path / "copy" / "journal.sqlite3"
    kept = [row.hash for row in read_rows(copy)]
    acknowledged = [line for line in lines if HASH.fullmatch(line)]
    assert [digest for digest in kept if digest in set(acknowledged)] == acknowledged
    assert verify(copy).problems == ()


def test_a_read_only_disk_can_be_verified_but_not_written(
    tmp_path: Path, journal_worker: Worker, own_mounts: str
) -> None:
    disk = tmp_path / "disk"
    script = f"""
        "$@"
        mount -o remount,ro {shlex.quote(str(disk))}
        "$@"
        "$1" "$2" "$3" verify "$5"
    """
    before = on_small_disk(own_mounts, "4m", tmp_path, script)
    lines = journal_worker("commit", disk / "journal.sqlite3", 2, before=before)
    assert [bool(HASH.fullmatch(line)) for line in lines] == [True, True, False, False]
    assert lines[2].startswith("error: journal cannot be ")
    assert lines[3] == "rows 2, problems 0"


def test_opening_keeps_room_for_a_verdict_and_puts_it_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    with Journal.open(path) as journal:
        assert reserve_path(path).stat().st_size == 2 << 20
        assert not journal.reserve_used
    reserve_path(path).unlink()
    Journal.open(path).close()
    assert reserve_path(path).stat().st_blocks * 512 >= 2 << 20


def test_without_room_for_the_reserve_a_journal_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stand-in: asking a real disk for more than it has would fill it for everybody.
    def half_then_full(file: int, offset: int, size: int) -> None:
        os.pwrite(file, bytes(size // 2), offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", half_then_full)
    path = tmp_path / "journal.sqlite3"
    with pytest.raises(StorageError, match="disk is full: "):
        Journal.open(path, reserve_bytes=8192)
    assert reserve_path(path).stat().st_size == 0
