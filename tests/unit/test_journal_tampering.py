"""`verify` names every row that was edited, deleted, inserted, reordered or cut off."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edgeapl.errors import StorageError
from edgeapl.journal import Journal, read_rows, verify
from edgeapl.journal.anchor import LINE_BYTES, anchor_line
from edgeapl.journal.chain import Row
from edgeapl.journal.location import anchor_path
from tests.faults.journal_worker import make_verdict

ROWS = 6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.sqlite3"
    with Journal.open(path, reserve_bytes=0) as journal:
        for number in range(ROWS):
            journal.commit(make_verdict(number))
    return path


def sql(path: Path, *statements: str) -> None:
    """Do what the guards forbid, and put the guards back so that they do not give it away."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        guards = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in guards:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, text in guards:
            connection.execute(text)


def forge(path: Path, after: int, *, number: int | None = None) -> Row:
    """Make a row that follows another correctly."""
    before = next(row for row in read_rows(path) if row.sequence == after)
    row = Row.next(before, before.time, "verdict", before.payload)
    values = (number or row.sequence, row.time, row.kind, row.payload, row.previous, row.hash)
    sql(path, f"INSERT OR REPLACE INTO records VALUES {values}")
    return row


def rehash(path: Path, first: int) -> None:
    """Make all hashes from one row on fit again, as a careful forger would."""
    rows = list(read_rows(path))
    before = next(row for row in rows if row.sequence == first - 1)
    for row in rows:
        if row.sequence >= first:
            before = Row.next(before, row.time, row.kind, row.payload)
            sql(
                path,
                f"UPDATE records SET previous = '{before.previous}', hash = '{before.hash}' "
                f"WHERE sequence = {row.sequence}",
            )


def edit_payload(path: Path) -> None:
    sql(path, "UPDATE records SET payload = replace(payload, 'REVIEW', 'CLEAR') WHERE sequence = 3")


def edit_time(path: Path) -> None:
    sql(path, "UPDATE records SET time = '2020-01-01T00:00:00.000000Z' WHERE sequence = 2")


def edit_kind(path: Path) -> None:
    sql(path, "UPDATE records SET kind = 'amendment' WHERE sequence = 1")


def edit_to_bytes(path: Path) -> None:
    sql(path, "UPDATE records SET payload = x'ff00' WHERE sequence = 4")


def edit_to_broken_text(path: Path) -> None:
    sql(path, "UPDATE records SET payload = CAST(x'ff00' AS TEXT) WHERE sequence = 4")


def edit_newest(path: Path) -> None:
    sql(path, f"UPDATE records SET payload = '{{}}' WHERE sequence = {ROWS}")


def edit_origin(path: Path) -> None:
    sql(path, "UPDATE records SET payload = '{}' WHERE sequence = 0")


def edit_and_hash_that_row(path: Path) -> None:
    forge(path, 2)


def edit_and_hash_all_after(path: Path) -> None:
    edit_payload(path)
    rehash(path, 3)


def edit_hash_only(path: Path) -> None:
    sql(path, "UPDATE records SET hash = 'x' WHERE sequence = 5")


def delete_middle(path: Path) -> None:
    sql(path, "DELETE FROM records WHERE sequence IN (2, 3)")


def delete_and_close_the_gap(path: Path) -> None:
    sql(
        path,
        "DELETE FROM records WHERE sequence = 4",
        "UPDATE records SET sequence = sequence - 1 WHERE sequence > 4",
    )


def cut_off_newest(path: Path) -> None:
    sql(path, f"DELETE FROM records WHERE sequence = {ROWS}")


def cut_off_three(path: Path) -> None:
    sql(path, f"DELETE FROM records WHERE sequence > {ROWS - 3}")


def cut_off_all(path: Path) -> None:
    sql(path, "DELETE FROM records")


def reorder(path: Path) -> None:
    sql(
        path,
        "UPDATE records SET sequence = 99 WHERE sequence = 2",
        "UPDATE records SET sequence = 2 WHERE sequence = 5",
        "UPDATE records SET sequence = 5 WHERE sequence = 99",
    )


def insert_between(path: Path) -> None:
    sql(
        path,
        *(
            f"UPDATE records SET sequence = {number + 1} WHERE sequence = {number}"
            for number in range(ROWS, 2, -1)
        ),
    )
    forge(path, 2)


def insert_two_at_the_end(path: Path) -> None:
    forge(path, ROWS)
    forge(path, ROWS + 1)


def insert_a_stranger_at_the_end(path: Path) -> None:
    forge(path, 2, number=ROWS + 1)


def old_copy(path: Path) -> None:
    """Put back the database, but not the anchor, of an earlier time."""
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    with Journal.open(path, reserve_bytes=0) as journal:
        journal.commit(make_verdict(7))
        journal.commit(make_verdict(8))
    shutil.move(copy, path)


def edit_anchor(path: Path) -> None:
    line(path, 3, anchor_line(3, "a" * 64))


def spoil_anchor(path: Path) -> None:
    line(path, 3, b"x" * LINE_BYTES)


def lengthen_anchor(path: Path) -> None:
    line(path, ROWS + 1, anchor_line(ROWS + 1, "a" * 64))


def scribble_on_anchor(path: Path) -> None:
    line(path, ROWS + 1, b"scribble")


def cut_anchor_by_two(path: Path) -> None:
    anchor = anchor_path(path)
    anchor.write_bytes(anchor.read_bytes()[: -2 * LINE_BYTES])


def lose_anchor(path: Path) -> None:
    anchor_path(path).unlink()


def lose_anchor_and_edit(path: Path) -> None:
    lose_anchor(path)
    edit_and_hash_that_row(path)
    sql(path, "DELETE FROM records WHERE sequence = 5")


def drop_guard(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER never_deleted")


def line(path: Path, number: int, data: bytes) -> None:
    with anchor_path(path).open("r+b") as file:
        file.seek(number * LINE_BYTES)
        file.write(data)


CASES: list[tuple[Callable[[Path], None], set[tuple[int | None, str]]]] = [
    (edit_payload, {(3, "edited")}),
    (edit_time, {(2, "edited")}),
    (edit_kind, {(1, "edited")}),
    (edit_to_bytes, {(4, "edited")}),
    (edit_to_broken_text, {(4, "edited")}),
    (edit_newest, {(ROWS, "edited")}),
    (edit_origin, {(0, "edited")}),
    (edit_and_hash_that_row, {(3, "edited")}),
    (edit_and_hash_all_after, {(number, "edited") for number in (3, 4, 5, 6)}),
    (edit_hash_only, {(5, "edited")}),
    (delete_middle, {(2, "deleted"), (3, "deleted")}),
    (delete_and_close_the_gap, {(4, "deleted"), (5, "reordered"), (6, "reordered")}),
    (cut_off_newest, {(6, "cut off")}),
    (cut_off_three, {(4, "cut off"), (5, "cut off"), (6, "cut off")}),
    (cut_off_all, {(number, "cut off") for number in range(ROWS + 1)}),
    (reorder, {(2, "reordered"), (5, "reordered")}),
    (insert_between, {(3, "inserted")} | {(number, "reordered") for number in (3, 4, 5, 6)}),
    (insert_two_at_the_end, {(7, "inserted"), (8, "inserted")}),
    (insert_a_stranger_at_the_end, {(7, "edited")}),
    (old_copy, {(7, "cut off"), (8, "cut off")}),
    (edit_anchor, {(3, "anchor")}),
    (spoil_anchor, {(3, "anchor")}),
    (lengthen_anchor, {(7, "cut off")}),
    (scribble_on_anchor, {(None, "anchor")}),
    (cut_anchor_by_two, {(5, "inserted"), (6, "inserted")}),
    (lose_anchor, {(None, "anchor")}),
    (lose_anchor_and_edit, {(None, "anchor"), (4, "unlinked"), (5, "deleted")}),
    (drop_guard, {(None, "database")}),
]


@pytest.mark.parametrize(
    ("tamper", "found"), CASES, ids=lambda value: getattr(value, "__name__", "")
)
def test_what_was_done_to_the_journal_is_named(
    path: Path,
    tamper: Callable[[Path], None],
    found: set[tuple[int | None, str]],
) -> None:
    assert verify(path).problems == ()
    tamper(path)
    problems = verify(path).problems
    assert {(problem.sequence, problem.kind) for problem in problems} == found
    assert len(problems) == len(found)
    assert all("\n" not in problem.text for problem in problems)


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (edit_newest, r"chain is broken: .*row 6"),
        (cut_off_newest, r"lost its newest rows: .*row 6\)"),
        (cut_off_three, r"lost its newest rows: .*row 4 to 6\)"),
        (cut_off_all, "chain is broken"),
        (old_copy, r"lost its newest rows: .*row 7 to 8\)"),
        (lengthen_anchor, "lost its newest rows"),
        (scribble_on_anchor, "chain is broken"),
        (cut_anchor_by_two, "chain is broken"),
        (insert_two_at_the_end, "chain is broken"),
        (insert_a_stranger_at_the_end, "chain is broken"),
        (lose_anchor, "lost its anchor"),
        (edit_and_hash_all_after, "chain is broken"),
    ],
)
def test_nothing_is_added_to_a_journal_whose_end_does_not_fit(
    path: Path, tamper: Callable[[Path], None], said: str
) -> None:
    tamper(path)
    anchor = anchor_path(path)
    before = anchor.read_bytes() if anchor.exists() else None
    with pytest.raises(StorageError, match=said):
        Journal.open(path)
    assert (anchor.read_bytes() if anchor.exists() else None) == before


@pytest.mark.parametrize("keep", [0, 1])
def test_a_database_that_is_gone_is_missed(path: Path, keep: int) -> None:
    path.unlink()
    if keep:
        path.touch()
    for use in (verify, read_rows, Journal.open):
        with pytest.raises(StorageError, match="journal has lost all its rows"):
            use(path)
    assert path.exists() == bool(keep)


def test_a_damaged_index_is_found(path: Path) -> None:
    digest = read_rows(path)[2].hash.encode()
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE type = 'index'"
        start = (connection.execute(query).fetchone()[0] - 1) * 4096
    data = bytearray(path.read_bytes())
    place = data.index(digest, start, start + 4096)
    data[place : place + 4] = b"0000"
    path.write_bytes(data)
    problems = verify(path).problems
    assert {problem.kind for problem in problems} == {"database"}
    assert all(problem.text.startswith("database is damaged: ") for problem in problems)


def test_the_anchor_of_another_journal_is_not_accepted(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite3"
    with Journal.open(other, reserve_bytes=0) as journal:
        for number in range(ROWS):
            journal.commit(make_verdict(number))
    shutil.copy(anchor_path(other), anchor_path(path))
    assert [problem.sequence for problem in verify(path).problems] == list(range(ROWS + 1))
    with pytest.raises(StorageError, match="chain is broken"):
        Journal.open(path)


def test_an_edited_row_is_not_taken_for_a_finished_slide(path: Path) -> None:
    digest = read_rows(path)[2].hash
    edit_payload(path)
    with Journal.open(path) as journal, pytest.raises(StorageError, match=r"broken: .*row 3\)"):
        journal.has(digest)


@pytest.mark.parametrize(
    "end",
    [
        lambda line: b"",
        lambda line: line[:1],
        lambda line: line[:40],
        lambda line: line[:-1],
        lambda line: bytes(20),
        lambda line: line[:30] + bytes(48),
        lambda line: bytes(78),
    ],
    ids=["none", "1 byte", "40 bytes", "77 bytes", "20 zeros", "30 and zeros", "zeros"],
)
def test_a_writer_stopped_before_its_line_was_finished_is_no_problem(
    path: Path, end: Callable[[bytes], bytes]
) -> None:
    anchor = anchor_path(path)
    whole = anchor.read_bytes()
    anchor.write_bytes(whole[:-LINE_BYTES] + end(whole[-LINE_BYTES:]))
    assert verify(path).problems == ()
    with Journal.open(path, reserve_bytes=0) as journal:
        assert anchor.read_bytes() == whole
        journal.commit(make_verdict(9))
    assert verify(path).problems == ()


def test_a_writer_stopped_before_the_anchor_was_made_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    Journal.open(path, reserve_bytes=0).close()
    anchor_path(path).unlink()
    assert verify(path).problems == ()
    with Journal.open(path, reserve_bytes=0) as journal:
        journal.commit(make_verdict(1))
    assert verify(path).problems == ()


def test_the_end_of_the_anchor_is_finished_only_when_the_row_proves_it(path: Path) -> None:
    anchor = anchor_path(path)
    whole = anchor.read_bytes()
    anchor.write_bytes(whole[:-LINE_BYTES] + b"000000000006 bad")
    assert [problem.kind for problem in verify(path).problems] == ["anchor"]
    with pytest.raises(StorageError, match="chain is broken"):
        Journal.open(path)
