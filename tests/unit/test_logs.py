"""The log says what happened, names no patient and no secret, and is never waited for."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeapl import logs
from edgeapl.capture.feed import log_change
from edgeapl.capture.health import CameraHealth, CameraState
from edgeapl.errors import InputError, StorageError
from edgeapl.logs import STDERR, logging_to, note, warn
from edgeapl.station import slide_log
from edgeapl.types import Decision, Tally, Verdict

SECRET = "0123456789abcdef"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "station.log"


def events(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_a_line_for_people_has_local_time_with_its_offset_and_stays_one_line(file: Path) -> None:
    with logging_to(file):
        note("camera", "camera_live", "scope: live")
        warn("slide", "slide_opened", "slide a\nb\x1b[31m opened")
    first, second = file.read_text("utf-8").splitlines()
    assert first.endswith(" camera: scope: live")
    assert first[10] == "T"
    assert first.split()[0][-6] in "+-"
    assert second.endswith(r" slide: warning: slide a\nb\x1b[31m opened")


def test_a_line_for_machines_is_one_object_with_its_fields(file: Path) -> None:
    with logging_to(file, as_json=True):
        warn("slide", "slide_closed", "slide ä closed\n", slide="ä", scored=3)
    (event,) = events(file)
    assert event["time"].endswith("+00:00")
    assert {name: event[name] for name in event if name != "time"} == {
        "level": "warning",
        "part": "slide",
        "event": "slide_closed",
        "text": "slide ä closed\n",
        "slide": "ä",
        "scored": 3,
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_a_secret_is_never_written_wherever_it_stands(file: Path, as_json: bool) -> None:
    with logging_to(file, as_json=as_json, secrets=[None, SECRET]):
        note("page", "x", f"opened http://h/?token={SECRET}", address=f"?token={SECRET}")
    text = file.read_text("utf-8")
    assert SECRET not in text
    assert "***" in text


def test_nothing_is_said_when_nobody_asked_for_a_log() -> None:
    code = "from edgeapl.logs import warn\nwarn('camera', 'x', 'lost')\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_a_program_that_sets_up_logging_gets_the_events(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "edgeapl"):
        note("engines", "engines_chosen", "FP32")
    assert caplog.record_tuples == [("edgeapl.engines", logging.INFO, "FP32")]


def test_the_log_is_its_owners_alone_and_rotates(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", 300)
    with logging_to(file):
        for number in range(60):
            note("camera", "x", f"line {number}")
    kept = sorted(path.name for path in file.parent.iterdir())
    assert kept == ["station.log", *(f"station.log.{n}" for n in range(1, logs.OLD_FILES + 1))]
    assert all(path.stat().st_size <= 300 for path in file.parent.iterdir())
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in file.parent.iterdir())
    assert "line 59" in file.read_text()


def test_a_log_that_can_not_be_opened_is_refused_in_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"log cannot be written: .*nowhere"),
        logging_to(tmp_path / "nowhere" / "a.log"),
    ):
        pass


def test_a_disk_that_fills_up_is_said_once_and_ends_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    monkeypatch.setattr(logs._File, "shouldRollover", lambda handler, record: False)
    with logging_to(full):
        note("camera", "x", "one")
        note("camera", "x", "two")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("log cannot be written: /dev/full: ")


def test_a_disk_that_hangs_is_not_waited_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    write = logs._File.emit

    def hang(handler: logs._File, record: logging.LogRecord) -> None:
        goes_on.wait(20)
        write(handler, record)

    monkeypatch.setattr(logs._File, "emit", hang)
    monkeypatch.setattr(logs, "MOST_WAITING", 10)
    with logging_to(file):
        for number in range(100):
            note("camera", "x", f"line {number}")
        goes_on.set()
    written = file.read_text().splitlines()
    assert 10 <= len(written) <= 12, "what found no room was left out"


def test_systemds_journal_gets_priorities(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    with logging_to(STDERR):
        note("camera", "x", "live")
        warn("camera", "x", "lost")
    assert capsys.readouterr().err.splitlines() == ["<6>camera: live", "<4>camera: warning: lost"]


def test_a_cameras_history_is_noted_when_it_changes_and_not_for_every_picture(file: Path) -> None:
    live = CameraHealth(state=CameraState.LIVE)
    with logging_to(file, as_json=True):
        log_change("scope", CameraHealth(), live)
        log_change("scope", live, replace(live, received=2, newest_ns=5))
        lost = replace(live, state=CameraState.LOST, text="no picture")
        log_change("scope", live, lost)
        log_change("scope", lost, replace(lost, restarts=1))
    assert [(event["event"], event["level"]) for event in events(file)] == [
        ("camera_live", "info"),
        ("camera_lost", "warning"),
        ("camera_restarted", "info"),
    ]


def verdict(decision: Decision) -> Verdict:
    tally, reasons = Tally(3, 3), ()
    return Verdict("S-1", decision, 0.9, None, tally, reasons, (), (), (), {}, "0", "0", "r")


def test_a_slide_is_named_by_its_identifier_and_files_are_not_named(file: Path) -> None:
    """A file's name may hold a patient's; what an error is about stays out of the log."""
    with logging_to(file, as_json=True):
        slide_log.opened("S-1", "new")
        slide_log.flagged(verdict(Decision.FLAG), "hash")
        slide_log.closed(verdict(Decision.FLAG), "hash")
        slide_log.not_closed(
            "S-2", InputError("image is cut off", "/data/Jane Doe.png", "take it anew")
        )
        record = {
            "slide": "S-3",
            "verdict": "REVIEW",
            "patient": "Jane Doe",
            "errors": [{"what": "image is cut off", "which": "/data/Jane Doe.png"}],
            "journal_record": "hash",
        }
        slide_log.scored(record, resumed=False)
    text = file.read_text("utf-8")
    assert "Jane" not in text
    assert [event["slide"] for event in events(file)] == ["S-1", "S-1", "S-1", "S-2", "S-3"]
    shown = [
        event["text"] for event in events(file) if event["event"].startswith(("flag", "slide"))
    ]
    assert sum("Research use only" in line for line in shown) == 3, "wherever a verdict stands"


@pytest.fixture
def guard() -> Any:
    pytest.importorskip("fastapi", reason="needs the extra: page")
    from edgeapl.web.authorisation import AccessMiddleware, PageAccess  # noqa: PLC0415

    async def app(scope: object, receive: object, send: object) -> None:
        raise AssertionError("let through")

    return AccessMiddleware(app, PageAccess(token=SECRET))


def test_the_page_notes_refusals_once_in_a_while_and_never_what_was_shown(
    guard: Any, file: Path
) -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: object) -> None:
        return

    def ask(host: bytes, query: bytes = b"") -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "headers": [(b"host", host)],
            "query_string": query,
        }
        asyncio.run(guard(scope, receive, send))

    with logging_to(file, as_json=True, secrets=[SECRET]):
        for _ in range(100):
            ask(b"evil.example")
            ask(b"127.0.0.1", b"token=wrong-" + SECRET.encode())
    said = events(file)
    assert [event["status"] for event in said] == [421, 401]
    assert "wrong-" not in file.read_text()
