"""What the chaos run looks for is found where it is: else its "held" would say nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeapl.journal import Journal
from edgeapl.types import Decision
from tests.faults.journal_worker import make_verdict
from tests.faults.running import Place, Running, began, of_events, of_journal, orphans

WHOLE = {"seen": 3, "scored": 2, "not_examined": 1, "failed": 0, "not_needed": 0}


def said(place: Place, *events: dict[str, Any], last: str = "") -> Running:
    """A station that has ended and said this."""
    log = place.logs / "station.log"
    log.parent.mkdir()
    log.write_text("\n".join([*map(json.dumps, events), last]))
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return Running(place, process, log)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "station", tmp_path / "logs")


def state(verdict: str, tally: dict[str, int] | None = None) -> dict[str, Any]:
    return {"event": "state", "slide": "S", "verdict": verdict, "tally": tally or WHOLE}


def test_nothing_is_wrong_with_a_slide_that_went_well(place: Place) -> None:
    assert of_events(said(place, state("REVIEW"), state("FLAG"), state("FLAG"))) == []


@pytest.mark.parametrize(
    ("events", "last", "word"),
    [
        ([state("FLAG"), state("REVIEW")], "", "flag went away"),
        ([state("FLAG", {**WHOLE, "scored": 1})], "", "do not add up"),
        ([], "Traceback (most recent call last):", "traceback"),
    ],
)
def test_what_a_station_may_not_say_is_found(
    place: Place, events: list[dict[str, Any]], last: str, word: str
) -> None:
    assert word in " ".join(of_events(said(place, *events, last=last)))


def test_a_child_that_outlives_its_station_is_found(place: Place) -> None:
    run = said(place)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    run.family[child.pid] = began(child.pid)
    assert orphans(run, 0.1) == [child.pid]
    run.put_down()
    child.wait()
    assert orphans(run, 5.0) == []


def test_another_process_that_got_a_childs_number_is_neither_blamed_nor_ended(place: Place) -> None:
    run = said(place)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        run.family[other.pid] = "1"
        assert orphans(run, 0.1) == []
        run.put_down()
        assert other.poll() is None
        other.kill()


def test_a_second_final_verdict_and_a_flag_taken_back_are_found(place: Place) -> None:
    place.folder.mkdir()
    flag = replace(make_verdict(0), slide="S", decision=Decision.FLAG)
    with Journal.open(place.journal, reserve_bytes=0) as journal:
        journal.commit(flag, provisional=True)
        assert "0 final verdicts" in " ".join(of_journal(place, over=True))
        assert of_journal(place, over=False) == []
        journal.commit(flag)
        assert of_journal(place, over=True) == []
        journal.commit(replace(make_verdict(1), slide="S"))
    wrong = " ".join(of_journal(place, over=False))
    assert "2 final verdicts" in wrong
    assert "FLAG in the journal, then" in wrong
