"""What was acknowledged survives a killed writer and a power cut, wherever it came."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from edgeapl.errors import StorageError
from edgeapl.journal import Journal, read_rows, verify
from tests.faults.conftest import Worker
from tests.faults.journal_worker import make_verdict
from tests.faults.power import TRACED, Event, cut, read_trace

CUTS = 300


def hashes(path: Path) -> list[str]:
    return [row.hash for row in read_rows(path)]


def test_fifty_writers_killed_at_any_moment_lose_nothing(
    tmp_path: Path, journal_worker: Worker
) -> None:
    path = tmp_path / "journal.sqlite3"
    (line,) = journal_worker("kill", path, 50, 20260101, 5)
    result = json.loads(line)
    acknowledged, kept = result["acknowledged"], hashes(path)
    assert result["problems"] == []
    assert len(acknowledged) > 50, "the writers hardly got to work"
    assert [digest for digest in kept if digest in set(acknowledged)] == acknowledged
    # At most one row per life was stored but not yet acknowledged.
    assert len(kept) - len(acknowledged) <= 50
    assert verify(path).problems == ()


def test_twenty_writers_killed_while_they_make_the_journal_leave_a_usable_one(
    tmp_path: Path, journal_worker: Worker
) -> None:
    chance = random.Random(7)
    for life in range(4):
        path = tmp_path / str(life) / "journal.sqlite3"
        (line,) = journal_worker("kill", path, 5, chance.randrange(10**6), 0)
        assert json.loads(line)["problems"] == []
        with Journal.open(path, reserve_bytes=0) as journal:
            journal.commit(make_verdict(1))
        assert verify(path).problems == ()


@pytest.fixture(scope="module")
def trace(
    tmp_path_factory: pytest.TempPathFactory, journal_worker: Worker, strace: str
) -> list[Event]:
    folder = tmp_path_factory.mktemp("trace").resolve()
    log = folder.with_name("trace.log")
    before = (strace, "-y", "-xx", "-s", "100000", "-o", str(log), "-e", TRACED)
    journal_worker("commit", folder / "journal.sqlite3", 6, before=before)
    events = list(read_trace(log.read_text(), folder))
    assert sum(event.call == "print" for event in events) == 6
    return events


def examine(path: Path) -> tuple[list[str], list[str]]:
    """Give hashes and problems; a journal that was not made yet has neither."""
    try:
        problems = [str(problem) for problem in verify(path).problems]
    except StorageError as error:
        return [], [] if error.what == "there is no journal" else [str(error)]
    return hashes(path), problems


def test_no_power_cut_loses_what_was_acknowledged(tmp_path: Path, trace: list[Event]) -> None:
    chance = random.Random(20260101)
    for number in range(CUTS):
        at = number if number < len(trace) else chance.randrange(len(trace) + 1)
        disk, acknowledged = cut(trace, at, chance)
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, data in disk.items():
            (folder / Path(name).name).write_bytes(data)
        path = folder / "journal.sqlite3"
        kept, problems = examine(path)
        assert problems == [], f"cut {number} before event {at}"
        assert kept[: len(acknowledged)] == acknowledged, f"cut {number} before event {at}"
        assert len(kept) <= len(acknowledged) + 1
        if number % 4 == 0:
            with Journal.open(path, reserve_bytes=0) as journal:
                journal.commit(make_verdict(1))
            assert verify(path).problems == ()


def test_the_row_is_on_the_disk_before_the_anchor_names_it_and_both_before_it_is_shown(
    trace: list[Event],
) -> None:
    flushed = [
        event.call if event.call == "print" else Path(event.path).suffix
        for event in trace
        if event.call in {"flush", "print"}
    ]
    first = flushed.index("print")
    one = [".sqlite3-wal", ".anchor", "print"]
    assert flushed[first - 2 : first + 1] == one
    assert flushed[first - 2 : first + 16] == one * 6
