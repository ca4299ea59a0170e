"""A slide of which no frame was kept gets one final verdict, from the journal."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgeapl.journal import VERDICT, Journal, read_rows
from edgeapl.report.claim import claimed
from edgeapl.station.abandoned import close_abandoned
from edgeapl.station.interruption import CUT_SHORT
from edgeapl.station.open_slide import OpenSlide
from edgeapl.types import Decision, Origin, Verdict
from tests.faults.journal_worker import make_verdict

HOLD = """
import pathlib, sys
from edgeapl.report.claim import claimed
with claimed(pathlib.Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal.sqlite3") as made:
        yield made


def verdict(results: Path, decision: Decision, sitting: str = "a1") -> Verdict:
    origin = Origin("b", "1", True, sitting, str(results.resolve()))
    return replace(make_verdict(1), decision=decision, origin=origin)


def finals(journal: Journal) -> list[tuple[str, bool]]:
    """Give the final verdicts, and whether each says that it was cut short."""
    rows = [row.content for row in read_rows(journal.path, kinds=(VERDICT,))]
    return [
        (row["verdict"], any(reason["code"] == CUT_SHORT for reason in row["reasons"]))
        for row in rows
    ]


FLAG, CLEAR, REVIEW = Decision.FLAG, Decision.CLEAR, Decision.REVIEW


@pytest.mark.parametrize(
    ("committed", "final"),
    [([FLAG], FLAG), ([REVIEW, FLAG], FLAG), ([FLAG, REVIEW], FLAG), ([CLEAR], REVIEW)],
)
def test_an_abandoned_slide_gets_one_final_verdict(
    tmp_path: Path, journal: Journal, committed: list[Decision], final: Decision
) -> None:
    out = tmp_path / "out"
    for decision in committed:
        journal.commit(verdict(out, decision), provisional=True)
    with claimed(out):
        (said,) = close_abandoned(out, journal)
        assert final.value in said
        assert close_abandoned(out, journal) == ()
    assert finals(journal) == [(final.value, True)]


def test_slides_that_are_closed_kept_or_of_an_unknown_examination_are_left_alone(
    tmp_path: Path, journal: Journal
) -> None:
    out = tmp_path / "out"
    kept = OpenSlide.start(out, "kept", "2026-01-01T00:00:00+00:00")
    journal.commit(verdict(out, FLAG, kept.about.sitting), provisional=True)
    journal.commit(verdict(out, FLAG, ""), provisional=True)
    journal.commit(verdict(out, REVIEW), provisional=True)
    journal.commit(verdict(out, CLEAR))
    journal.commit(verdict(tmp_path / "gone", FLAG, "b2"), provisional=True)
    with claimed(out):
        assert close_abandoned(out, journal) == ()
    assert finals(journal) == [("CLEAR", False)]
    kept.stop_writing()


def test_a_slide_that_another_station_examines_now_is_left_to_it(
    tmp_path: Path, journal: Journal
) -> None:
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    command = [sys.executable, "-c", HOLD, str(theirs)]
    with claimed(mine):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            journal.commit(verdict(theirs, FLAG), provisional=True)
            assert close_abandoned(mine, journal) == ()
            other.kill()
        assert len(close_abandoned(mine, journal)) == 1
    assert finals(journal) == [("FLAG", True)]
