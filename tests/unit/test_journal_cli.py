"""`edgeapl journal` shows what is recorded, safely, and never makes a journal."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from edgeapl.cli import journal as command
from edgeapl.cli.output import RESEARCH_USE_ONLY
from edgeapl.errors import EdgeAplError, StorageError, UsageError
from edgeapl.journal import Journal
from edgeapl.types import Reason
from tests.faults.journal_worker import make_verdict

STRANGE = "a\nb\tc\x1b[31m[/red][bold]\x07\u202e\udcff"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "journal.sqlite3"
    with Journal.open(path, reserve_bytes=0) as journal:
        for number in range(1, 5):
            journal.commit(make_verdict(number))
        strange = replace(make_verdict(5), slide=STRANGE, frames=((STRANGE, "0" * 64),))
        counts = (replace(strange.counts[0], role=STRANGE),)
        strange = replace(strange, counts=counts, timings={STRANGE: 1.0})
        journal.commit(replace(strange, reasons=(Reason("x", STRANGE),), runtime=STRANGE))
        journal.append_event("amendment", {"text": STRANGE})
    return path


def run(*arguments: str) -> None:
    typer.main.get_command(command.app)(list(arguments), standalone_mode=False)


def edit(path: Path, row: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER never_changed")
        connection.execute(f"UPDATE records SET payload = '{{}}' WHERE sequence = {row}")


def test_list_gives_one_line_per_record_to_a_pipe(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("list", "--journal", str(path))
    heading, *lines, notice = capsys.readouterr().out.splitlines()
    fields = heading.split("\t")
    assert fields[:4] == ["record", "time", "slide", "verdict"]
    assert [line.split("\t")[0] for line in lines] == ["1", "2", "3", "4", "5", "6"]
    assert all(len(line.split("\t")) == len(fields) for line in lines)
    assert lines[0].split("\t")[2:6] == [
        "slide 1",
        "REVIEW",
        "0.250 (0.125 to 0.500)",
        "4 seen, 2 scored, 1 not examined, 1 failed",
    ]
    assert notice == RESEARCH_USE_ONLY


def test_list_gives_one_document_with_all_that_was_recorded(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("list", "--last", "3", "--json", "--journal", str(path))
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["research_use_only"]) == (1, True)
    assert [record["sequence"] for record in document["records"]] == [4, 5, 6]
    assert document["records"][1]["content"]["slide"] == STRANGE
    assert document["records"][0]["content"]["tally"]["seen"] == 4


@pytest.mark.parametrize(
    "arguments", [("list",), ("show", "5"), ("show", "6"), ("show", "0"), ("verify",)]
)
@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_from_outside_commands_the_terminal(
    path: Path,
    arguments: tuple[str, ...],
    terminal: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    if terminal:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    run(*arguments, "--journal", str(path))
    out = capsys.readouterr().out
    # What rich itself writes for bold and colours; anything else came from the journal.
    for code in ("\x1b[1m", "\x1b[0m", "\x1b[2m", "\x1b[1;2m"):
        out = out.replace(code, "")
    assert not set(out) & set("\x1b\x07\u202e\udcff")
    if arguments[0] != "verify":
        assert RESEARCH_USE_ONLY in out
    if arguments in [("list",), ("show", "5")]:
        assert "a\\nb\\tc\\x1b[31m[/red][bold]\\x07\\u202e" in out


def test_show_takes_a_number_or_a_hash(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("show", "2", "--json", "--journal", str(path))
    record = json.loads(capsys.readouterr().out)["record"]
    assert record["content"]["slide"] == "slide 2"
    for key in (record["hash"], record["hash"][:8]):
        run("show", key, "--journal", str(path))
        out = capsys.readouterr().out
        for part in ("slide 2", "REVIEW", record["hash"], "b" * 64, "e" * 64, f"{2:064x}", "0.250"):
            assert part in out
        assert "frame 2.png" in out
        assert out.count(RESEARCH_USE_ONLY) >= 1


def test_verify_says_intact(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("verify", "--journal", str(path))
    assert capsys.readouterr().out.startswith("intact: 6 rows in ")
    run("verify", "--json", "--journal", str(path))
    document = json.loads(capsys.readouterr().out)
    assert (document["rows"], document["intact"], document["problems"]) == (6, True, [])


def test_a_broken_journal_ends_with_exit_code_5_and_one_line_per_problem(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(path, 2)
    edit_twice = "row 2: edited: its hash does not match its content"
    with pytest.raises(StorageError, match="not as it was written") as caught:
        run("verify", "--journal", str(path))
    assert caught.value.exit_code == 5
    assert capsys.readouterr().out.splitlines() == [
        "table or trigger is not as it was created: never_changed",
        edit_twice,
    ]
    with pytest.raises(StorageError):
        run("verify", "--json", "--journal", str(path))
    document = json.loads(capsys.readouterr().out)
    assert document["intact"] is False
    assert {"sequence": 2, "kind": "edited", "text": edit_twice} in document["problems"]
    with pytest.raises(StorageError, match="journal row was edited"):
        run("show", "2", "--journal", str(path))
    with pytest.raises(StorageError, match="journal rows were edited: row 2 of"):
        run("list", "--journal", str(path))
    assert "slide 2" not in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [("list",), ("show", "1"), ("verify",)])
def test_only_looking_never_makes_a_journal(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with pytest.raises(StorageError, match="there is no journal"):
        run(*arguments, "--journal", str(tmp_path / "new" / "journal.sqlite3"))
    assert list(tmp_path.iterdir()) == []


def test_the_journal_of_the_station_file_is_used(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path.parent / "edgeapl.toml").write_text(f"journal = {json.dumps(path.name)}\n")
    run("verify")
    assert capsys.readouterr().out.startswith("intact: 6 rows")


@pytest.mark.parametrize("arguments", [("show", "99"), ("show", "nonsense")])
def test_a_record_that_is_not_there_is_a_usage_error(
    path: Path, arguments: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError):
        run(*arguments, "--journal", str(path))
    with pytest.raises((EdgeAplError, typer.TyperException)):
        run("list", "--last", "0", "--journal", str(path))
