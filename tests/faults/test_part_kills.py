"""Parts and their merge, killed at random moments and run again: nothing lost, nothing twice."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from edgeapl.journal import read_rows, verify
from tests.scored_parts import draw_slides, everything
from tests.small_bundle import small_bundle

NAMES = ("a", "b", "c", "g", "h", "i", "j", "k")
KILLS = 3
SEED = 20
LONGEST_S = 4.0
"""A run takes about two seconds here; where it takes less it may end by itself."""


def run(folder: Path, *arguments: str | Path, limit_s: float | None = None) -> None:
    """Run the program to its end, or kill it with everything it started after a while."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeapl", *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return
    assert process.returncode == 0, said


@pytest.mark.slow
def test_parts_and_merge_killed_at_random_and_run_again_equal_one_run(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    slides = draw_slides(tmp_path / "slides", NAMES)
    bundle = small_bundle(tmp_path / "bundle").folder
    score = ("score", slides, "--bundle", bundle, "--um-per-px", "0.2")
    run(tmp_path, *score, "--out", "once", "--journal", "once.sqlite3")
    commands: list[tuple[str | Path, ...]] = [
        (*score, "--part", f"{part}/2", "--out", f"part{part}", "--journal", f"{part}.sqlite3")
        for part in (1, 2)
    ]
    journals = ("--from", "1.sqlite3", "--from", "2.sqlite3", "--journal", "all.sqlite3")
    commands.append(("merge", "part1", "part2", "--out", "all", *journals))
    for command in commands:
        for _ in range(KILLS):
            run(tmp_path, *command, limit_s=chance.uniform(0.3, LONGEST_S))
        run(tmp_path, *command)
    journal = tmp_path / "all.sqlite3"
    assert everything(tmp_path / "all", journal) == everything(
        tmp_path / "once", tmp_path / "once.sqlite3"
    )
    assert sorted(str(row.content["slide"]) for row in read_rows(journal)) == list(NAMES)
    assert verify(journal).problems == ()
