"""SIGTERM at random moments: a short version of `python -m tests.faults.sigterm`."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from tests.faults.running import Place, Running, of_events, orphans
from tests.faults.sigterm import GONE_S, PATIENCE_S, one


@pytest.mark.slow
def test_a_station_is_gone_after_sigterm_and_its_journal_is_whole(tmp_path: Path) -> None:
    """Its work is measured in processor time: beside other tests it gets its share late."""
    chance = random.Random(4)
    place = Place(tmp_path / "station", tmp_path / "logs")
    for number, megapixels in ((1, 5), (2, 1)):  # a child is stopped before the first
        done = one(place, chance, number, (megapixels,), most_wait_s=2.0)
        assert not done.wrong
        assert done.gone_s is not None
        assert done.busy_s <= GONE_S


def test_a_station_that_still_starts_takes_its_children_with_it(tmp_path: Path) -> None:
    """Also one that was stopped before it could ask the kernel for that."""
    place = Place(tmp_path / "station", tmp_path / "logs")
    run = Running.start(place, "demo://apl", "--slide", "S")
    try:
        assert run.until(lambda one: bool(one.children()), PATIENCE_S)
        for pid in run.children():
            os.kill(pid, signal.SIGSTOP)
        assert run.end(signal.SIGTERM, PATIENCE_S) is not None
        assert run.busy_s <= GONE_S
        assert not orphans(run, GONE_S)
        assert not of_events(run)
    finally:
        run.put_down()
