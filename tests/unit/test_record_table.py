"""Tables of the journal: whole lines for pipes, 80 columns and local times for people."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator

import pytest

from edgeapl.cli.record_table import print_records

HEADINGS = ("record", "time", "slide", "verdict", "probability of APL", "hash")
NARROW = HEADINGS[:5]
ROWS = [
    ("7", "2026-01-05T10:20:30+00:00", "S-" + "1" * 60, "FLAG", "0.970 (0.910 to 0.990)", "a" * 64),
    ("8", "2026-07-05T10:20:30+00:00", "[bold]", "(FLAG seen)", "-", "b" * 64),
]


@pytest.fixture(autouse=True)
def east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_gets_local_times_within_its_width(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    print_records(HEADINGS, ROWS, narrow=NARROW, notes=("2 left out",))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, shown.splitlines())) <= columns
    assert "2026-01-05 15:50 UTC+05:30" in shown
    assert "[bold]" in shown
    assert ("hash" in shown) == (columns == 200)
    assert "".join(shown.split()).count("1" * 10) >= 1
    assert shown.rstrip().endswith("Not for diagnosis.")


def test_a_pipe_gets_every_field_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_records(HEADINGS, ROWS, narrow=NARROW)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "\t".join(HEADINGS)
    assert lines[1] == "\t".join(ROWS[0])
