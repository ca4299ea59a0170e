"""Several processes may commit to one journal at once."""

from __future__ import annotations

import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeapl.errors import StorageError
from edgeapl.journal import Journal, read_rows, verify
from edgeapl.journal.schema import connect
from tests.faults.conftest import Worker
from tests.faults.journal_worker import make_verdict

PROCESSES = 3
ROWS = 60


def test_processes_that_open_and_commit_at_once_share_one_chain(
    tmp_path: Path, journal_worker: Worker
) -> None:
    path = tmp_path / "new" / "journal.sqlite3"
    with ThreadPoolExecutor(PROCESSES) as pool:
        runs = [pool.submit(journal_worker, "commit", path, ROWS) for _ in range(PROCESSES)]
        said = [run.result() for run in runs]
    kept = [row.hash for row in read_rows(path)]
    assert sorted(kept) == sorted(line for lines in said for line in lines)
    assert len(kept) == PROCESSES * ROWS
    for lines in said:
        assert [digest for digest in kept if digest in set(lines)] == lines
    assert verify(path).problems == ()


def test_opening_waits_for_another_program_that_is_making_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    other = connect(path, "mode=rwc", 1)
    other.execute("CREATE TABLE soon_gone (x)")
    other.execute("DROP TABLE soon_gone")
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, other.close)
    timer.start()
    try:
        with Journal.open(path, reserve_bytes=0) as journal:
            journal.commit(make_verdict(1))
    finally:
        timer.join()
    assert verify(path).problems == ()


def test_a_row_that_one_program_could_not_anchor_is_anchored_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.sqlite3"

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with Journal.open(path, reserve_bytes=0) as one, Journal.open(path, reserve_bytes=0) as other:
        with monkeypatch.context() as patch:
            patch.setattr("edgeapl.journal.anchor.sync_anchor", fail)
            with pytest.raises(StorageError, match=r"cannot be kept \(Input/output error\)"):
                one.commit(make_verdict(1))
        other.commit(make_verdict(2))
        one.commit(make_verdict(3))
    assert [row.content["slide"] for row in read_rows(path)] == ["slide 1", "slide 2", "slide 3"]
    assert verify(path).problems == ()


def test_a_journal_that_another_program_holds_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    with Journal.open(path, busy_s=0.05) as journal:
        other = connect(path, "mode=rw", 0.05)
        other.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(StorageError, match=r"journal is busy: .*: another program"):
                journal.commit(make_verdict(1))
        finally:
            other.close()
        journal.commit(make_verdict(2))
    assert [row.content["slide"] for row in read_rows(path)] == ["slide 2"]
    assert verify(path).problems == ()
