"""A verdict, or an explicit REVIEW, is in the journal by the deadline, whatever the networks do."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from edgeapl.errors import DeadlineError, EndOfSource
from edgeapl.journal import Journal, read_rows
from edgeapl.pipeline import SlideOptions
from edgeapl.pipeline.options import RESERVE_S
from edgeapl.process.restart import RestartBudget
from edgeapl.station.hosted_model import HostedModel, NetworkGroup, open_hosted
from edgeapl.station.session import ClosedSlide, Session
from edgeapl.types import Decision, Frame, UInt8, Verdict
from tests.slow_networks import ENDLESS
from tests.trap_bundle import trap_bundle, trap_field

pytestmark = pytest.mark.slow

RUNS = 100
LOOKING_S = 0.4
"""Of a budget, for looking at cells; the rest is what the pipeline keeps back."""

BUDGET_S = RESERVE_S + LOOKING_S
SLOW = 80_000  # turns: a batch of one cell takes about 0.08 s
CELLS = ((50, 50), (150, 50), (50, 150), (150, 150))


class Frames:
    """A camera that takes each picture when it is asked for it."""

    live = True
    name = "camera"

    def __init__(self, pixels: list[UInt8]) -> None:
        self._pixels = pixels
        self.captured_ns: list[int] = []

    def read(self, timeout_s: float) -> Frame:
        index = len(self.captured_ns)
        if index >= len(self._pixels):
            raise EndOfSource
        self.captured_ns.append(time.monotonic_ns())
        return Frame(
            self._pixels[index], index, self.captured_ns[-1], 0.2, f"{index}", f"{index:064x}"
        )

    def close(self) -> None:
        pass


class Clocked(Journal):
    """A journal that notes when each verdict was safely in it."""

    commits: list[tuple[int, Verdict]]

    def commit(self, verdict: Verdict, *, provisional: bool = False) -> str:
        row = super().commit(verdict, provisional=provisional)
        self.commits.append((time.monotonic_ns(), verdict))
        return row


@contextmanager
def opened(folder: Path, turns: int) -> Iterator[HostedModel]:
    trap_bundle(folder / "bundle", turns)
    with open_hosted(folder / "bundle") as hosted:
        # The test ends processes more often than a station would bear.
        service = hosted.hosts[NetworkGroup.CELLS].service
        service._supervisor._budget = RestartBudget(restarts=10_000)
        yield hosted


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Clocked]:
    with Clocked.open(tmp_path / "journal.sqlite3") as made:
        assert isinstance(made, Clocked)
        made.commits = []
        yield made


def examine(
    hosted: HostedModel, journal: Clocked, folder: Path, pixels: list[UInt8], name: str
) -> tuple[ClosedSlide, list[float]]:
    """Run a slide; gives it and how long after its capture each frame was committed, s."""
    source = Frames(pixels)
    options = SlideOptions(batch_size=1, budget=hosted.budget(BUDGET_S))
    before = len(journal.commits)
    closed = Session(hosted, name, folder, journal, options).run(source)
    commits = journal.commits[before:]
    took = []
    for index, captured_ns in enumerate(source.captured_ns):
        used = (at for at, verdict in commits if len(verdict.frames) > index)
        took.append((next(used) - captured_ns) / 1e9)
    return closed, took


@pytest.mark.slow
def test_a_hundred_slides_with_slow_endless_and_crashing_networks_are_answered_in_time(
    tmp_path: Path, journal: Clocked
) -> None:
    endings: Counter[str] = Counter()
    slowest = 0.0
    for kind, turns in (("slow", SLOW), ("endless", ENDLESS), ("crashing", SLOW)):
        with opened(tmp_path / kind, turns) as hosted:
            for run in range(RUNS // 3 + (kind == "slow")):
                killer = threading.Timer(0.05 + 0.01 * run, end_networks, [hosted])
                if kind == "crashing":
                    killer.start()
                closed, took = examine(
                    hosted, journal, tmp_path, [trap_field(CELLS, run)], f"{kind}-{run}"
                )
                killer.cancel()
                slowest = max(slowest, *took)
                tally = closed.verdict.tally
                assert tally.seen == len(CELLS)
                lost = tally.not_examined + tally.failed
                if lost:
                    assert closed.verdict.decision is not Decision.CLEAR
                    assert closed.verdict.reasons
                endings[f"{kind}, {'part' if lost else 'all'} examined"] += 1
    print(f"\n{dict(endings)}; slowest {slowest:.2f} s of {BUDGET_S:.2f} s")
    assert slowest <= BUDGET_S
    assert sum(endings.values()) == RUNS
    assert endings["endless, part examined"] == RUNS // 3
    rows = [row for row in read_rows(journal.path) if row.kind == "verdict"]
    assert len(rows) == RUNS


def end_networks(hosted: HostedModel) -> None:
    pid = hosted.hosts[NetworkGroup.CELLS].health.pid
    if pid is not None:
        os.kill(pid, signal.SIGSEGV)


def test_after_an_endless_network_the_next_slide_is_examined_whole(
    tmp_path: Path, journal: Clocked
) -> None:
    with opened(tmp_path, ENDLESS) as hosted:
        cut, _ = examine(hosted, journal, tmp_path, [trap_field(CELLS, 0)], "cut")
        assert cut.verdict.tally.not_examined == len(CELLS)
        assert cut.exit_code == 7
        plain = trap_field(CELLS, 0).copy()
        plain[plain == 0] = 60
        whole, _ = examine(hosted, journal, tmp_path, [plain], "whole")
        assert whole.verdict.tally.scored == len(CELLS)
        assert whole.exit_code == 0


def test_cells_that_were_not_examined_are_named_and_never_negative(
    tmp_path: Path, journal: Clocked
) -> None:
    with opened(tmp_path, ENDLESS) as hosted:
        closed, _ = examine(hosted, journal, tmp_path, [trap_field(CELLS, 0)], "cut")
    verdict = closed.verdict
    assert verdict.decision is Decision.REVIEW
    assert any("4 of 4 cells" in reason.text for reason in verdict.reasons)
    table = (closed.report.parent / "cells.csv").read_text()
    assert table.count("not_examined") == len(CELLS)


def test_frames_that_come_while_one_is_endless_are_answered_in_time_too(
    tmp_path: Path, journal: Clocked
) -> None:
    with opened(tmp_path, ENDLESS) as hosted:
        fields = [trap_field(CELLS[n : n + 2], 7 * n) for n in range(3)]
        closed, took = examine(hosted, journal, tmp_path, fields, "many")
    assert len(took) == 3
    assert max(took) <= BUDGET_S
    assert closed.verdict.tally.not_examined == closed.verdict.tally.seen > 0


def test_a_head_that_hangs_is_replaced_before_the_deadline(
    tmp_path: Path, journal: Clocked
) -> None:
    with opened(tmp_path, SLOW) as hosted:
        pid = hosted.hosts[NetworkGroup.HEAD].health.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        plain = trap_field(CELLS, 0).copy()
        plain[plain == 0] = 60
        closed, took = examine(hosted, journal, tmp_path, [plain], "head")
    assert max(took) <= BUDGET_S
    # By the end it was started again and gave its answer.
    assert closed.verdict.probability is not None


@pytest.mark.parametrize(
    ("stopped", "at_once"),
    [(None, False), (None, True), (NetworkGroup.CELLS, False), (NetworkGroup.HEAD, False)],
)
def test_a_station_in_a_hurry_closes_the_slide_at_once(
    tmp_path: Path, journal: Clocked, stopped: NetworkGroup | None, at_once: bool
) -> None:
    """With a process that stands still, and just before a run gets its own deadline."""
    with opened(tmp_path, ENDLESS) as hosted:
        hurry = threading.Event()
        budget = replace(hosted.budget(600), abort=hurry)
        hurried: list[float] = []

        def cancel_cells(at_ns: int | None) -> None:
            if at_once and not hurried:
                hurry_up()
            budget.cancel_cells(at_ns)

        options = SlideOptions(batch_size=1, budget=replace(budget, cancel_cells=cancel_cells))
        session = Session(hosted, "s", tmp_path, journal, options)

        def hurry_up() -> None:
            hurried.append(time.monotonic())
            pid = None if stopped is None else hosted.hosts[stopped].health.pid
            if pid is not None:
                os.kill(pid, signal.SIGSTOP)
            hurry.set()
            hosted.stop_now()
            session.stop_now()

        if not at_once:
            threading.Timer(0.5, hurry_up).start()
        closed = session.run(Frames([trap_field(CELLS, 0)]))
        # Of a run under way the process is ended, and none is started for nothing.
        while not at_once and hosted.hosts[NetworkGroup.CELLS].health.pid is not None:
            assert time.monotonic() - hurried[0] < 3.0
            time.sleep(0.01)
        time.sleep(0.2)
        assert at_once or hosted.hosts[NetworkGroup.CELLS].health.pid is None
    assert time.monotonic() - hurried[0] < 3.0
    assert closed.verdict.tally.not_examined == len(CELLS)
    assert closed.exit_code == DeadlineError.exit_code  # no network has failed


@pytest.mark.slow
def test_a_camera_is_asked_for_a_picture_only_when_it_could_be_examined_soon(
    tmp_path: Path, journal: Clocked
) -> None:
    """Else pictures would grow old in the queue, and be answered as not examined."""
    points = [(40, 40), (100, 40), (160, 40), (40, 100), (160, 100), (40, 160), (160, 160)]
    pairs = list(itertools.combinations(points, 2))
    fields = [trap_field(pair, number) for number, pair in enumerate(pairs)]
    with opened(tmp_path, 10 * SLOW) as hosted:  # 0.8 s for each cell
        source = Frames(fields)
        options = SlideOptions(batch_size=1, budget=hosted.budget(600))
        session = Session(hosted, "s", tmp_path, journal, options)
        waiting: list[int] = []
        session.on_change = lambda: waiting.append(len(source.captured_ns) - sum(session.frames))
        threading.Timer(4.0, session.stop.set).start()
        closed = session.run(source)
    assert closed.verdict.tally.scored >= 4
    assert max(waiting) <= 3  # one in work, one next, one just taken
