"""SIGTERM at random moments: a short version of `python -m tests.faults.sigterm`."""

from __future__ import annotations

import random
from pathlib import Path

from tests.faults.running import Place
from tests.faults.sigterm import GONE_S, one


def test_a_station_is_gone_after_sigterm_and_its_journal_is_whole(tmp_path: Path) -> None:
    """Its work is measured in processor time: beside other tests it gets its share late."""
    chance = random.Random(4)
    place = Place(tmp_path / "station", tmp_path / "logs")
    for number, megapixels in enumerate((1, 5, 5)):  # a child is stopped before the second
        done = one(place, chance, number, (megapixels,), most_wait_s=2.0)
        assert not done.wrong
        assert done.gone_s is not None
        assert done.busy_s <= GONE_S
