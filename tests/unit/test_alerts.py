"""A flag stands until somebody acknowledges it, and its command is run once."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeapl.cli.main import run
from edgeapl.errors import ConfigError, StorageError, UsageError
from edgeapl.journal import ACKNOWLEDGEMENT, NOTICE, Journal, read_rows, verify
from edgeapl.journal.alarms import read_alarms
from edgeapl.station.alert_record import FolderNotifier
from edgeapl.station.alerts import Alerts
from edgeapl.station.flag_command import FlagCommand
from edgeapl.types import Decision, Origin, Verdict
from tests.faults.journal_worker import make_verdict


def verdict(
    slide: str, sitting: str, decision: Decision = Decision.FLAG, demonstration: bool = False
) -> Verdict:
    origin = Origin("b", "1", demonstration, sitting, "out")
    made = replace(make_verdict(1), slide=slide, decision=decision, probability=0.9, origin=origin)
    return replace(made, reasons=()) if decision is Decision.FLAG else made


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal.sqlite3", reserve_bytes=4096) as opened:
        yield opened


def commit(journal: Journal, alerts: Alerts | None, made: Verdict, provisional: bool = True) -> str:
    record = journal.commit(made, provisional=provisional)
    if alerts is not None:
        alerts.committed(made, record)
    return record


def slides(alerts: Alerts) -> list[str]:
    return [alarm.slide for alarm in alerts.unacknowledged]


def until(promise: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not promise():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_flag_stands_through_the_next_slide_and_a_restart_until_it_is_acknowledged(
    journal: Journal,
) -> None:
    alerts = Alerts(journal)
    commit(journal, alerts, verdict("a", "1", Decision.REVIEW))
    first = commit(journal, alerts, verdict("a", "1"))
    commit(journal, alerts, verdict("a", "1"))
    commit(journal, alerts, verdict("a", "1"), provisional=False)
    commit(journal, alerts, verdict("b", "2", Decision.REVIEW), provisional=False)
    commit(journal, alerts, verdict("a", "3"))  # another slide of this name
    assert slides(alerts) == slides(Alerts(journal)) == ["a", "a"]
    assert alerts.unacknowledged[-1].record == first
    row = alerts.acknowledge(first, " AB ")
    assert slides(alerts) == slides(Alerts(journal)) == ["a"]
    assert alerts.unacknowledged[0].sitting == "3"
    newest = read_rows(journal.path)[-1]
    assert (newest.hash, newest.kind) == (row, ACKNOWLEDGEMENT)
    assert newest.content == {"slide": "a", "record": first, "person": "AB"}
    # What was seen stays seen, also while the slide goes on.
    again = Alerts(journal)
    commit(journal, again, verdict("a", "1"))
    assert [alarm.sitting for alarm in again.unacknowledged] == ["3"]
    assert not verify(journal.path).problems


@pytest.mark.parametrize(
    ("record", "person", "words"),
    [
        ("0" * 64, "AB", "no such flag"),
        ("", "AB", "no such flag"),
        ("first", " ", "initials are missing"),
        ("seen", "AB", "acknowledged before: b by CD"),
    ],
)
def test_nothing_else_is_taken_for_an_acknowledgement(
    journal: Journal, record: str, person: str, words: str
) -> None:
    alerts = Alerts(journal)
    known = {
        "first": commit(journal, alerts, verdict("a", "1")),
        "seen": commit(journal, alerts, verdict("b", "2")),
    }
    alerts.acknowledge(known["seen"], "CD")
    with pytest.raises(UsageError, match=words):
        alerts.acknowledge(known.get(record, record), person)
    assert slides(alerts) == ["a"]


def test_a_flag_stands_when_its_acknowledgement_can_not_be_recorded(journal: Journal) -> None:
    alerts = Alerts(journal)
    record = commit(journal, alerts, verdict("a", "1"))
    journal.close()
    with pytest.raises(StorageError):
        alerts.acknowledge(record, "AB")
    assert slides(alerts) == ["a"]


@pytest.mark.parametrize(("demonstration", "count"), [(False, 1), (True, 2)])
def test_flags_of_demonstrations_come_back_at_demonstrations_alone(
    journal: Journal, demonstration: bool, count: int
) -> None:
    commit(journal, None, verdict("a", "1"))
    commit(journal, None, verdict("drawn", "2", demonstration=True))
    commit(journal, None, verdict("scored", ""), provisional=False)
    alerts = Alerts(journal, demonstration=demonstration)
    assert len(alerts.unacknowledged) == count
    assert not Alerts(journal, recall=False).unacknowledged


@pytest.mark.parametrize(
    ("kind", "change", "standing"),
    [("provisional", '"slide":"z', 1), (ACKNOWLEDGEMENT, '"person":"X', 1)],
)
def test_an_edited_flag_stands_and_an_edited_acknowledgement_does_not_count(
    journal: Journal, kind: str, change: str, standing: int
) -> None:
    alerts = Alerts(journal)
    alerts.acknowledge(commit(journal, alerts, verdict("a", "1")), "AB")
    if kind == "provisional":
        commit(journal, alerts, verdict("b", "2"))
    journal.close()
    path = journal.path
    with sqlite3.connect(path) as database:
        (sequence,) = database.execute(
            "SELECT max(sequence) FROM records WHERE kind = ?", (kind,)
        ).fetchone()
        for name in [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='trigger'")
        ]:
            database.execute(f"DROP TRIGGER {name}")
        start = change[:-1]
        database.execute(
            "UPDATE records SET payload = replace(payload, ?, ?) WHERE sequence = ?",
            (start, change, sequence),
        )
    database.close()
    assert verify(path).problems
    assert sum(not alarm.acknowledged_by for alarm in read_alarms(path)) == standing


def program(folder: Path, text: str) -> FlagCommand:
    script = folder / "program with spaces.py"
    script.write_text(text, encoding="utf-8")
    return FlagCommand.parse(f'{sys.executable} "{script}" "$(touch owned); `touch owned`"')


WRITE = """
import json, os, sys
given = json.load(sys.stdin)
name = given["journal_record"][:16]
open(os.path.join(os.path.dirname(__file__), name + ".json"), "x").write(
    json.dumps([given["slide"], given["verdict"], given["event"], sys.argv[1:]]))
"""


def test_a_command_gets_the_verdict_once_for_each_slide_and_no_shell_sees_it(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = program(tmp_path, WRITE)
    alerts = Alerts(journal, command=command)
    name = "a'; touch owned; $(touch owned) `touch owned` | touch owned\u202e\n"
    commit(journal, alerts, verdict(name, "1", Decision.REVIEW))
    records = [commit(journal, alerts, verdict(name, sitting)) for sitting in "1123"]
    alerts.finish(lambda: False)
    files = sorted(tmp_path.glob("*.json"))
    assert len(files) == 3
    said = json.loads((tmp_path / f"{records[0][:16]}.json").read_text())
    assert said == [name, "FLAG", "flag", ["$(touch owned); `touch owned`"]]
    assert not (tmp_path / "owned").exists()
    notices = [row.content for row in read_rows(journal.path) if row.kind == NOTICE]
    assert sorted(one["record"] for one in notices) == sorted({records[0], *records[2:]})
    assert all(one["succeeded"] for one in notices)
    assert alerts.trouble == ()
    Alerts(journal, command=command).finish(lambda: False)
    assert len(list(tmp_path.glob("*.json"))) == 3


def test_a_flag_whose_station_was_stopped_before_its_command_has_it_run_at_the_next_start(
    journal: Journal, tmp_path: Path
) -> None:
    record = commit(journal, None, verdict("a", "1"))
    seen = commit(journal, None, verdict("b", "2"))
    journal.append_event(ACKNOWLEDGEMENT, {"slide": "b", "record": seen, "person": "AB"})
    Alerts(journal, command=program(tmp_path, WRITE)).finish(lambda: False)
    assert [file.stem for file in tmp_path.glob("*.json")] == [record[:16]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import sys; sys.exit('no mail server')", "exit code 1, no mail server"),
        ("import os, signal; os.kill(os.getpid(), 9)", "ended by signal 9"),
        ("import time; print('so far', flush=True); time.sleep(60)", "within 0.7 s, so far"),
        (
            (
                "import os, subprocess, sys, time\n"
                "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
                "time.sleep(60)"
            ),
            "within 0.7 s",
        ),
        ("raise SystemExit('\\x1b[2J' + 1000 * 'x')", r"\x1b[2Jx"),
    ],
)
def test_a_command_that_fails_is_said_and_recorded_and_holds_nobody_up(
    journal: Journal, tmp_path: Path, text: str, words: str
) -> None:
    command = replace(program(tmp_path, text), limit_s=0.7)
    alerts = Alerts(journal, command=command)
    began = time.monotonic()
    record = commit(journal, alerts, verdict("a", "1"))
    assert time.monotonic() - began < 0.5
    alerts.finish(lambda: False)
    assert time.monotonic() - began < 10
    (trouble,) = alerts.trouble
    assert "nobody may know of slide a" in trouble
    assert words in trouble
    assert len(trouble) < 700
    (notice,) = (row.content for row in read_rows(journal.path) if row.kind == NOTICE)
    assert (notice["record"], notice["succeeded"]) == (record, False)
    assert words in notice["text"]
    assert alerts.failures == 1
    alerts.acknowledge(record, "AB")
    assert alerts.trouble == ()


def test_a_station_in_a_hurry_does_not_wait_for_a_command(journal: Journal, tmp_path: Path) -> None:
    command = replace(program(tmp_path, "import time; time.sleep(60)"), limit_s=3.0)
    alerts = Alerts(journal, command=command)
    commit(journal, alerts, verdict("a", "1"))
    began = time.monotonic()
    alerts.finish(lambda: True)
    assert time.monotonic() - began < 2.5
    until(lambda: bool(alerts.trouble))  # so that nothing is left behind


def test_a_command_whose_run_can_not_be_recorded_is_said(journal: Journal, tmp_path: Path) -> None:
    go = tmp_path / "go"
    text = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
    alerts = Alerts(journal, command=program(tmp_path, text))
    commit(journal, alerts, verdict("a", "1"))
    journal.close()
    go.touch()
    alerts.finish(lambda: False)
    assert "not recorded" in alerts.trouble[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "is empty"), ("no-such-program -x", "is no program"), ("mail 'a", "close its quotes")],
)
def test_a_command_that_is_none_is_refused_before_anything_starts(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FlagCommand.parse(text)


def test_a_folder_has_the_command_run_for_its_new_flags_alone(
    journal: Journal, tmp_path: Path
) -> None:
    notices = FolderNotifier(journal, program(tmp_path, WRITE))

    def scored(slide: str, decision: str, resumed: bool) -> None:
        record: dict[str, Any] = {"slide": slide, "verdict": decision, "journal_record": slide * 64}
        notices.on_slide(record, resumed)

    scored("a", "FLAG", False)
    scored("b", "FLAG", True)
    scored("c", "CLEAR", False)
    assert notices.finish() == ()
    assert [file.stem for file in tmp_path.glob("*.json")] == ["a" * 16]


def test_one_flag_is_acknowledged_once_by_many_at_a_time(journal: Journal) -> None:
    alerts = Alerts(journal)
    record = commit(journal, alerts, verdict("a", "1"))
    refused: list[UsageError] = []

    def acknowledge(person: str) -> None:
        try:
            alerts.acknowledge(record, person)
        except UsageError as error:
            refused.append(error)

    threads = [threading.Thread(target=acknowledge, args=(f"P{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert [row.kind for row in read_rows(journal.path)].count(ACKNOWLEDGEMENT) == 1


# Where there is no page.


def test_a_flag_is_acknowledged_from_the_command_line_and_the_station_hears_of_it(
    journal: Journal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()
    alerts = Alerts(journal, on_change=told.set)
    first = commit(journal, alerts, verdict("a", "1"))
    later = commit(journal, alerts, verdict("a", "1"), provisional=False)
    commit(journal, alerts, verdict("b", "2"))
    where = ["--journal", str(journal.path)]
    assert run(["journal", "acknowledge", *where]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in listed[1:-1]] == [
        alarm.record[:12] for alarm in reversed(alerts.unacknowledged)
    ]
    told.clear()
    # Any row in which the slide is flagged will do; the acknowledgement names the first.
    assert run(["journal", "acknowledge", later[:12], "--by", " AB ", *where]) == 0
    assert "slide a is acknowledged by AB" in capsys.readouterr().out
    newest = read_rows(journal.path)[-1]
    assert newest.content == {"slide": "a", "record": first, "person": "AB"}
    alerts.sync()
    assert slides(alerts) == slides(Alerts(journal)) == ["b"]
    assert told.is_set()
    # Not asked again at once, and not at all when nothing stands.
    assert (
        run(["journal", "acknowledge", alerts.unacknowledged[0].record, "--by", "C", *where]) == 0
    )
    alerts.sync()
    assert slides(alerts) == ["b"]
    monkeypatch.setattr("edgeapl.station.alerts.SYNC_EVERY_S", 0.0)
    alerts._sync_at = 0.0
    alerts.sync()
    assert slides(alerts) == []
    capsys.readouterr()
    assert run(["journal", "acknowledge", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["flags_not_acknowledged"] == []
    assert not verify(journal.path).problems


@pytest.mark.parametrize(
    ("row", "by", "words"),
    [
        ("flag", "", "initials are missing"),
        ("seen", "AB", "acknowledged before: c by CD"),
        ("scored", "AB", "row is not a station's flag"),
        ("review", "AB", "row is not a station's flag"),
        ("f" * 64, "AB", "journal has no such row"),
        ("xyz", "AB", "neither a row number nor a hash"),
    ],
)
def test_what_can_not_be_acknowledged_is_refused_and_nothing_is_recorded(
    journal: Journal, capsys: pytest.CaptureFixture[str], row: str, by: str, words: str
) -> None:
    alerts = Alerts(journal)
    known = {
        "flag": commit(journal, alerts, verdict("a", "1")),
        "scored": commit(journal, None, verdict("b", "")),  # a folder's have no examination
        "review": commit(journal, alerts, verdict("d", "4", Decision.REVIEW)),
        "seen": commit(journal, alerts, verdict("c", "3")),
    }
    alerts.acknowledge(known["seen"], "CD")
    before = read_rows(journal.path)
    command = ["journal", "acknowledge", known.get(row, row), "--journal", str(journal.path)]
    assert run([*command, "--by", by]) == 2
    assert words in capsys.readouterr().err
    assert read_rows(journal.path) == before
