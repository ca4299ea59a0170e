"""One slide at a station: whatever comes in whatever order, a flag stays and one verdict is final.

The examination, the session, the committer, the kept frames and the journal are the real ones; the
networks are a layer each and fail as they are told.
"""

from __future__ import annotations

import csv
import itertools
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from numpy.typing import NDArray

from edgeapl.engines.wrapper import EngineWrapper
from edgeapl.errors import DeadlineError, EngineError, InputError, SourceStalled
from edgeapl.journal import PROVISIONAL, VERDICT, Journal, Row, read_rows, verdict_from_json
from edgeapl.model import Model, open_model
from edgeapl.pipeline import Budget, SlideOptions, producer
from edgeapl.protocols import Arrays
from edgeapl.sources.frames import frame_of_pixels
from edgeapl.station.flag_recovery import recovered_flag
from edgeapl.station.frame_store import FrameStore
from edgeapl.station.hosted_model import HostedModel
from edgeapl.station.interruption import Interruption
from edgeapl.station.recovery import recover
from edgeapl.station.session import ClosedSlide, Session
from edgeapl.station.sources import ResumedSource
from edgeapl.types import CellStatus, Decision, Frame, ScaleOrigin, UInt8, Verdict
from tests.small_bundle import cell_network, drawn_field, small_bundle

SLIDE = "S"
LONG_S = 5.0
"""Far beyond what any step takes."""

MOOD = st.sampled_from(["well", "well", "late", "gone", "nan"])

BLAST, PLAIN = (150, 60, 150), (95, 50, 150)
"""Colours of nuclei: by the amount of red a cell is suspicious or not."""


class Killed(BaseException):
    """The station's process is gone."""


class Moods:
    """What the networks do when they are asked next: by name, a word of `Moody`."""

    def __init__(self) -> None:
        self.of = {"cells": "well", "head": "well"}


class Moody(EngineWrapper):
    """Answers, fails, is cancelled at its deadline or says nothing usable, as it is told."""

    def __init__(self, inner: Any, name: str, moods: Moods) -> None:
        super().__init__(inner)
        self._name = name
        self._moods = moods

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        mood = self._moods.of[self._name]
        if mood == "late":
            raise DeadlineError("network gave no answer by the deadline", self._name, "test")
        if mood == "gone":
            raise EngineError("network's process ended", self._name, "test")
        answers = super().run(inputs)
        if mood == "nan":
            return {name: np.full_like(values, np.nan) for name, values in answers.items()}
        return answers


class Dying(Journal):
    """A journal after whose next row of a kind the process is killed; `dies` names the kind."""

    dies = ""

    def commit(self, verdict: Verdict, *, provisional: bool = False) -> str:
        row = super().commit(verdict, provisional=provisional)
        if self.dies == (PROVISIONAL if provisional else VERDICT):
            raise Killed
        return row


class Camera:
    """Implements FrameSource: gives what `show` is called with."""

    live = True
    name = "camera"

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._waiting: list[UInt8 | None] = []
        self._count = 0
        self.taken = 0

    def show(self, pixels: UInt8 | None) -> None:
        """Show a picture; None is one that cannot be read."""
        with self._news:
            self._waiting.append(pixels)
            self._news.notify_all()

    def read(self, timeout_s: float) -> Frame:
        with self._news:
            self._news.wait_for(lambda: self._waiting, timeout_s)
            if not self._waiting:
                raise SourceStalled("no picture", "camera", "wait")
            pixels = self._waiting.pop(0)
            self.taken += 1
        if pixels is None:
            raise InputError("picture is damaged", "camera", "it is left out")
        self._count += 1
        return frame_of_pixels(
            pixels,
            index=self._count - 1,
            captured_ns=time.monotonic_ns(),
            source=f"camera#{self._count - 1}",
            scale_for=lambda _: (0.2, ScaleOrigin.STATED),
        )

    def close(self) -> None:
        pass


class Sitting:
    """The station's process from its start to its end, with the slide in work."""

    def __init__(self, hosted: HostedModel, out: Path, journal: Dying) -> None:
        self.camera = Camera()
        self.hurry = threading.Event()
        self.doomed = False
        self.ended: BaseException | None = None
        self.closed: ClosedSlide | None = None
        kept = FrameStore.start(out, SLIDE, "2026-01-01T00:00:00+00:00", journal.identity)
        frames = kept.readers()
        source = ResumedSource(frames, self.camera)
        budget = Budget(3600).with_abort(self.hurry)
        self.session = Session(
            hosted,
            SLIDE,
            out,
            journal,
            SlideOptions(
                batch_size=2,
                budget=budget,
                flagged=recovered_flag(kept, journal.path),
                stop_error=0.001,
            ),
            store=kept,
            on_change=self._changed,
            interruption=Interruption(source) if kept.resumed else None,
        )
        self._kept = kept
        self._thread = threading.Thread(target=self._run, args=(source,), daemon=True)
        self._thread.start()
        self.until(lambda: sum(self.session.frames) >= len(frames))

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + LONG_S
        while self.alive and not true():
            assert time.monotonic() < end, "the station does not go on"
            time.sleep(0.001)

    def show(self, pixels: UInt8 | None) -> None:
        frames, taken = sum(self.session.frames), self.camera.taken
        self.camera.show(pixels)
        if pixels is None:
            self.until(lambda: self.camera.taken > taken)
        else:
            self.until(lambda: sum(self.session.frames) > frames)

    def join(self) -> None:
        self._thread.join(LONG_S)
        assert not self.alive, "the station does not end"
        if self.closed is None:
            self._kept.flush()  # what was handed to the disk arrives there, or it would not yet

    def _run(self, source: ResumedSource) -> None:
        try:
            self.closed = self.session.run(source)
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.ended = error

    def _changed(self) -> None:
        if self.doomed:
            raise Killed


@cache
def field_of(kind: str, number: int) -> UInt8:
    """Draw a field, another one for each number."""
    if kind == "dark":
        return np.full((200, 200, 3), 4 + number % 3, np.uint8)
    random = np.random.default_rng(number)
    corners = random.permutation([(45, 45), (155, 45), (45, 155), (155, 155), (100, 100)])[:3]
    places = () if kind == "empty" else [(int(x), int(y)) for x, y in corners]
    image = drawn_field(places, nucleus=BLAST if kind == "blasts" else PLAIN)
    noise = random.integers(0, 4, image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), dtype=np.uint8)


@cache
def small_model() -> Model:
    """Give a model for which cells are suspicious when they are redder than `PLAIN`."""
    weights = np.zeros((3, 3), np.float32)
    weights[0, 0] = 120
    network = cell_network(weights, np.array([-65, -9, -9], np.float32))
    with tempfile.TemporaryDirectory() as folder:
        small_bundle(Path(folder) / "bundle", cells=network)
        return open_model(Path(folder) / "bundle")


def is_open(machine: OneSlide) -> bool:
    return machine.sitting is not None


class OneSlide(RuleBasedStateMachine):
    """Every step is something that happens at a station while one slide is open."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        # How long a thread sleeps that nobody has told of the end.
        self.patch.setattr(producer, "READ_TIMEOUT_S", 0.01)
        self.moods = Moods()
        model = small_model()
        engines = {name: Moody(engine, name, self.moods) for name, engine in model.engines.items()}
        self.hosted = HostedModel(replace(model, engines=engines), {})
        self.sitting: Sitting | None = None
        self.is_left = False
        self.shown = 0

    @property
    def open(self) -> Sitting:
        assert self.sitting is not None
        return self.sitting

    @property
    def rows(self) -> tuple[Row, ...]:
        return read_rows(self.folder / "journal.sqlite3")

    def next_field(self, kind: str) -> UInt8 | None:
        self.shown += 1
        return None if kind == "broken" else field_of(kind, self.shown % 20)

    @initialize()
    def start(self) -> None:
        journal = Dying.open(self.folder / "journal.sqlite3", reserve_bytes=4096)
        assert isinstance(journal, Dying)
        self.journal = journal
        left = recover(self.folder / "out", journal).slides
        assert [about.slide for about in left] == [SLIDE] * self.is_left
        self.sitting = Sitting(self.hosted, self.folder / "out", journal)

    @precondition(is_open)
    @rule(kind=st.sampled_from(["blasts", "blasts", "plain", "dark", "empty", "broken"]))
    def frame(self, kind: str) -> None:
        self.open.show(self.next_field(kind))

    @precondition(is_open)
    @rule(network=st.sampled_from(["head", "cells"]), mood=MOOD)
    def mood(self, network: str, mood: str) -> None:
        self.moods.of[network] = mood

    @precondition(is_open)
    @rule(at_commit=st.booleans(), kind=st.sampled_from(["blasts", "plain", "dark"]))
    def killed_and_started_again(self, at_commit: bool, kind: str) -> None:
        """After a step, or between a commit and what is noted beside the frames."""
        self.journal.dies, self.open.doomed = PROVISIONAL if at_commit else "", not at_commit
        self.open.show(self.next_field(kind))
        self.open.doomed = True  # where there was nothing to commit
        while self.open.alive:
            self.open.show(self.next_field("dark"))
        assert isinstance(self.open.ended, Killed), self.open.ended
        self.open.join()
        self.journal.close()
        self.is_left = True
        self.start()

    @precondition(is_open)
    @rule(hurry=st.booleans())
    def closed(self, hurry: bool) -> None:
        """By a person, or by SIGTERM: what has no answer then is given up."""
        if hurry:
            self.open.hurry.set()
        sitting, self.sitting = self.open, None
        sitting.session.end()
        sitting.join()
        assert not recover(self.folder / "out", self.journal).slides
        self.journal.close()
        assert sitting.ended is None, sitting.ended
        assert sitting.closed is not None
        verdict = sitting.closed.verdict
        was = {row.content["verdict"] for row in self.rows if row.kind == PROVISIONAL}
        assert verdict.decision is Decision.FLAG or "FLAG" not in was
        assert sitting.closed.report.is_file()
        with (sitting.closed.report.parent / "cells.csv").open(encoding="utf-8") as file:
            held = Counter(row["status"] for row in csv.DictReader(file))
        assert {status: held[status.value] for status in CellStatus} == {
            CellStatus.SCORED: verdict.tally.scored,
            CellStatus.NOT_EXAMINED: verdict.tally.not_examined,
            CellStatus.FAILED: verdict.tally.failed,
            CellStatus.NOT_NEEDED: verdict.tally.not_needed,
        }

    @precondition(is_open)
    @rule()
    def killed_while_it_was_closed(self) -> None:
        """Between the final commit and the removal of the kept frames."""
        self.journal.dies = VERDICT
        sitting, self.sitting = self.open, None
        sitting.session.end()
        sitting.join()
        assert isinstance(sitting.ended, Killed), sitting.ended
        self.journal.close()

    @precondition(lambda self: not is_open(self))
    @rule()
    def started_again_after_the_end(self) -> None:
        with Journal.open(self.folder / "journal.sqlite3", reserve_bytes=4096) as journal:
            assert not recover(self.folder / "out", journal).slides

    @invariant()
    def nothing_ended_the_station(self) -> None:
        if self.sitting is not None:
            assert self.open.ended is None, self.open.ended

    @invariant()
    def a_flag_stays_with_what_it_stands_on(self) -> None:
        flags = [
            verdict_from_json(row.content)
            for row in itertools.dropwhile(lambda row: row.content["verdict"] != "FLAG", self.rows)
        ]
        assert all(verdict.decision is Decision.FLAG for verdict in flags)
        for verdict in flags:
            assert verdict.probability is not None
            assert verdict.limits is not None
            assert verdict.probability >= verdict.limits.flag_at
            numbers_moved = "input_failed" in {reason.code for reason in verdict.reasons}
            assert verdict.evidence or numbers_moved
            assert verdict.flagged_since == flags[0].flagged_since != ""
            kept = verdict.reasons[0].code == "flag_kept"
            assert (verdict.current is not None) == kept

    @invariant()
    def at_most_one_verdict_is_final(self) -> None:
        final = [row.kind for row in self.rows].count(VERDICT)
        assert final == (0 if is_open(self) else 1)

    def teardown(self) -> None:
        if is_open(self):
            self.closed(hurry=False)
            self.a_flag_stays_with_what_it_stands_on()
            self.at_most_one_verdict_is_final()
        shutil.rmtree(self.folder)
        self.patch.undo()


TestOneSlide = pytest.mark.slow(OneSlide.TestCase)
TestOneSlide.settings = settings(
    max_examples=40,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
