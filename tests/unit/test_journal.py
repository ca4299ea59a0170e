"""The journal keeps what it was given, in order, and nothing else gets in or out."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edgeapl.errors import StorageError, UsageError
from edgeapl.journal import (
    Journal,
    default_journal_path,
    find_row,
    read_rows,
    verdict_from_json,
    verdict_to_json,
    verify,
)
from edgeapl.journal.chain import row_hash
from edgeapl.journal.location import NETWORK_FILESYSTEMS, filesystem_of, refuse_network_share
from edgeapl.protocols import Sink
from edgeapl.types import Decision, Figures, Interval, Reason, Tally, Verdict
from tests.faults.journal_worker import make_verdict

STRANGE = 'a\nb\x1b[31m<img onerror="x">=HYPERLINK(1)\udcff\u202e[/red]ü'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite3"


def filled(path: Path, count: int) -> list[str]:
    with Journal.open(path, reserve_bytes=4096) as journal:
        return [journal.commit(make_verdict(number)) for number in range(count)]


@pytest.mark.parametrize(
    "verdict",
    [
        make_verdict(1),
        replace(make_verdict(2), decision=Decision.FLAG, probability=1.0, reasons=()),
        replace(make_verdict(3), decision=Decision.CLEAR, probability=0.0, interval=None),
        replace(make_verdict(4), probability=None, interval=None, counts=(), evidence=()),
        replace(make_verdict(5), slide=STRANGE, frames=((STRANGE, "0" * 64),)),
        replace(make_verdict(6), reasons=(Reason("x", STRANGE),), timings={STRANGE: 1e-300}),
        replace(make_verdict(7), probability=0.1 + 0.2, interval=Interval(1 / 3, 2 / 3)),
        replace(make_verdict(8), tally=Tally(), frames=()),
        replace(make_verdict(9), examined_share=0.75, hidden_cells=1),
        replace(make_verdict(1), frames=(("a", "0" * 64),), frame_shares=(0.7,)),
        replace(
            make_verdict(9),
            decision=Decision.FLAG,
            probability=None,
            flagged_since="2026-01-01T00:00:00+00:00",
            flagged_by="d" * 64,
            current=Figures(0.25, Interval(0.125, 0.5), make_verdict(9).counts, (3,)),
        ),
    ],
    ids=lambda verdict: verdict.slide[:7].encode("unicode_escape").decode(),
)
def test_a_verdict_comes_back_as_it_was_committed(path: Path, verdict: Verdict) -> None:
    with Journal.open(path) as journal:
        digest = journal.commit(verdict)
    assert verdict_from_json(find_row(path, digest).content) == verdict


def test_the_record_has_the_fields_that_other_tools_rely_on() -> None:
    record = verdict_to_json(make_verdict(1))
    assert set(record) == {
        *("schema", "research_use_only", "slide", "verdict", "probability", "interval", "tally"),
        *("reasons", "counts", "evidence", "frames", "timings", "examined_share", "hidden_cells"),
        *("bundle_digest", "engine_digest", "runtime", "signed_by", "signing_key", "limits"),
        *("certificate", "look"),
    }
    assert record["tally"] == {
        "seen": 4,
        "scored": 2,
        "not_examined": 1,
        "failed": 1,
        "not_needed": 0,
    }
    assert record["interval"] == [0.125, 0.5]
    assert record["reasons"] == [{"code": "few_cells", "text": "only 2 cells could be scored"}]
    assert record["frames"][1] == {"source": "frame 1.png", "sha256": f"{1:064x}"}
    assert (record["schema"], record["research_use_only"], record["verdict"]) == (1, True, "REVIEW")


def test_a_record_without_examined_shares_is_still_read() -> None:
    record = verdict_to_json(make_verdict(1))
    for younger in ("examined_share", "hidden_cells"):
        del record[younger]
    assert verdict_from_json(record) == make_verdict(1)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"examined_share": 1.5},
        {"research_use_only": False},
        {"verdict": "MAYBE"},
        {"probability": 2.0},
        {"tally": {"seen": 5, "scored": 1, "not_examined": 1, "failed": 1}},
        {"reasons": []},
        {"frames": [["a", "b"]]},
        {"runtime": None},
        {"timings": []},
    ],
)
def test_a_record_that_is_no_verdict_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(StorageError, match="record is not a verdict"):
        verdict_from_json(verdict_to_json(make_verdict(1)) | change)


def test_a_number_that_is_not_finite_is_refused_and_leaves_no_row(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.commit(make_verdict(1))
        with pytest.raises(StorageError, match="record cannot be written: slide 2"):
            journal.commit(replace(make_verdict(2), timings={"segment": float("nan")}))
        journal.commit(make_verdict(3))
    assert [row.content["slide"] for row in read_rows(path)] == ["slide 1", "slide 3"]


def test_each_row_carries_the_hash_of_the_row_before(path: Path) -> None:
    hashes = filled(path, 3)
    with Journal.open(path) as journal:
        assert isinstance(journal, Sink)
        hashes.append(journal.append_event("amendment", {"of": hashes[0], "text": "wrong slide"}))
    rows = read_rows(path)
    assert [row.hash for row in rows] == hashes
    assert [row.sequence for row in rows] == [1, 2, 3, 4]
    assert [row.previous for row in rows[1:]] == hashes[:-1]
    assert rows[0].previous == find_row(path, "0").hash
    assert [row.kind for row in rows] == ["verdict"] * 3 + ["amendment"]
    assert read_rows(path, last=2) == rows[2:]
    assert find_row(path, hashes[1][:8].upper()) == rows[1]
    report = verify(path)
    assert (report.rows, report.newest, report.problems) == (4, hashes[-1], ())


def test_no_two_rows_share_an_encoding() -> None:
    assert row_hash(1, "2", "3", "4", "5") != row_hash(1, "23", "", "4", "5")
    assert row_hash(11, "2", "3", "4", "5") != row_hash(1, "12", "3", "4", "5")


def test_two_journals_with_the_same_verdicts_can_not_be_spliced(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    hashes = []
    for name in ("a", "b"):
        with Journal.open(tmp_path / name, now=lambda: now, reserve_bytes=0) as journal:
            hashes.append(journal.commit(make_verdict(1)))
    assert hashes[0] != hashes[1]


def test_time_is_kept_in_utc(path: Path) -> None:
    there = datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    with Journal.open(path, now=lambda: there) as journal:
        journal.commit(make_verdict(1))
    assert read_rows(path)[0].time == "2025-12-31T23:30:00.000000Z"


def test_has_knows_committed_rows_only(path: Path) -> None:
    known = filled(path, 2)
    with Journal.open(path) as journal:
        assert all(journal.has(digest) for digest in known)
        assert not journal.has("0" * 64)
        assert not journal.has("None")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records SET payload = '{}' WHERE sequence = 1",
        "DELETE FROM records WHERE sequence = 2",
        "INSERT OR REPLACE INTO records VALUES (1, '', '', '', '', 'x')",
        "INSERT INTO records VALUES (9, '', '', '', '', 'x')",
        "INSERT INTO records (time, kind, payload, previous, hash) VALUES ('', '', '', '', 'x')",
    ],
)
def test_the_database_itself_refuses_anything_but_the_next_row(path: Path, statement: str) -> None:
    filled(path, 2)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()


def test_threads_may_share_a_journal(path: Path) -> None:
    with Journal.open(path) as journal:
        threads = [
            threading.Thread(target=lambda: [journal.commit(make_verdict(n)) for n in range(20)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    report = verify(path)
    assert (report.rows, report.problems) == (80, ())


def test_verifying_while_others_commit_raises_no_false_alarm(path: Path) -> None:
    filled(path, 1)
    thread = threading.Thread(target=filled, args=(path, 150))
    thread.start()
    reports = [verify(path)]
    while thread.is_alive():
        reports.append(verify(path))
    thread.join()
    assert [problem for report in reports for problem in report.problems] == []
    assert verify(path).rows == 151


def as_folder(path: Path) -> None:
    path.mkdir(parents=True)


def as_fifo(path: Path) -> None:
    path.parent.mkdir(parents=True)
    os.mkfifo(path)


def as_text(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("x" * 5000)


def as_other_database(path: Path) -> None:
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def as_newer(path: Path) -> None:
    filled(path, 1)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()


def as_damaged(path: Path) -> None:
    filled(path, 50)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)


def in_a_file(path: Path) -> None:
    path.parent.write_text("not a folder")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (as_folder, "journal is not a plain file"),
        (as_fifo, "journal is not a plain file"),
        (as_text, "file is not a journal"),
        (as_other_database, "database is not a journal of EdgeAPL"),
        (as_newer, "journal was written by a newer EdgeAPL"),
        (as_damaged, "journal is damaged"),
        (in_a_file, "journal cannot be kept"),
    ],
)
def test_what_is_not_a_journal_is_refused_in_one_line_and_left_alone(
    path: Path, make: Callable[[Path], None], said: str
) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StorageError, match=said) as caught:
        Journal.open(path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5
    assert (path.read_bytes() if path.is_file() else None) == before
    if make is not in_a_file:
        with pytest.raises(StorageError, match=said):
            verify(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o500)
    with pytest.raises(StorageError, match="journal cannot be"):
        Journal.open(path)


def test_reading_makes_nothing(path: Path) -> None:
    for read in (verify, read_rows, lambda where: find_row(where, "1")):
        with pytest.raises(StorageError, match="there is no journal"):
            read(path)
    assert not path.parent.exists()


def test_reading_changes_nothing(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with Journal.open(path, reserve_bytes=0) as journal:
        digest = journal.commit(make_verdict(1))
        shutil.copytree(path.parent, copy)  # as a stopped writer leaves it: the row is in the log
    before = {file.name: file.read_bytes() for file in copy.iterdir() if file.suffix[-3:] != "shm"}
    assert b"slide 1" not in before[path.name]
    there = copy / path.name
    assert verify(there).newest == find_row(there, "1").hash == read_rows(there)[0].hash == digest
    after = {file.name: file.read_bytes() for file in copy.iterdir() if file.suffix[-3:] != "shm"}
    assert after == before


@pytest.mark.parametrize("key", ["7", "deadbeefdeadbeef", "dead", "", "%%%%%%%%", "-1", "²"])
def test_a_row_that_is_not_there_is_a_usage_error(path: Path, key: str) -> None:
    filled(path, 1)
    with pytest.raises(UsageError):
        find_row(path, key)


def test_an_unknown_kind_of_event_is_refused(path: Path) -> None:
    with Journal.open(path) as journal, pytest.raises(StorageError, match="kind of row: verdict"):
        journal.append_event("verdict", {})


MOUNTS = r"""
22 1 254:0 / / rw,relatime - ext4 /dev/root rw
23 22 0:40 / /mnt/lab rw shared:1 - nfs4 server:/lab rw
24 23 0:41 / /mnt/lab/local rw - xfs /dev/sdb rw
25 22 0:42 / /mnt/two\040words rw - cifs //server/x rw
26 22 0:43 / /mnt/over rw - ext4 /dev/sdc rw
27 22 0:44 / /mnt/over rw - 9p host rw
nonsense
"""


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/home/me/j", "ext4"),
        ("/mnt/lab/j", "nfs4"),
        ("/mnt/laboratory/j", "ext4"),
        ("/mnt/lab/local/deep/j", "xfs"),
        ("/mnt/two words/j", "cifs"),
        ("/mnt/over/j", "9p"),
    ],
)
def test_a_network_share_is_refused(tmp_path: Path, place: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert filesystem_of(Path(place), MOUNTS) == kind
    if kind not in NETWORK_FILESYSTEMS:
        refuse_network_share(Path(place), mounts)
        return
    with pytest.raises(StorageError, match=rf"network share: {place} \({kind}\)"):
        refuse_network_share(Path(place), mounts)


def test_no_journal_is_made_on_a_network_share(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeapl.journal.location.filesystem_of", lambda *_: "nfs4")
    with pytest.raises(StorageError, match="network share"):
        Journal.open(path)
    assert not path.exists()


def test_the_default_place_follows_the_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for state in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", state)
        home = Path("/home/somebody/.local/state/edgeapl/journal.sqlite3")
        assert default_journal_path() == home
    monkeypatch.setenv("XDG_STATE_HOME", "/var/lib/state")
    assert default_journal_path() == Path("/var/lib/state/edgeapl/journal.sqlite3")


def test_the_payload_is_canonical_json(path: Path) -> None:
    filled(path, 1)
    payload = read_rows(path)[0].payload
    again = json.dumps(json.loads(payload), sort_keys=True, separators=(",", ":"))
    assert payload == again
    assert payload.isascii()
