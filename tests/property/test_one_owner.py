"""Whatever networks do and whenever time is up, each cell is in one place, and every run ends."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.engines.ort import OrtEngine
from edgeapl.engines.wrapper import EngineWrapper
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.examination import OpenFrame
from edgeapl.examination.preparation import PreparedFrame
from edgeapl.inference import InferenceResult, Scheduler, scheduler_for
from edgeapl.inference.workers import WorkerThreads
from edgeapl.model import open_model
from edgeapl.pipeline import Budget, Observer, SlideOptions, SlideOutcome, examine_slide
from edgeapl.protocols import Arrays, CellChain, CellsOnFrame, Engine
from edgeapl.stages.cell_order import Order
from edgeapl.stages.crop import uncut_cells
from edgeapl.types import Detections, Frame, UInt16
from tests.small_bundle import drawn_field, scripted, small_bundle
from tests.unit.test_scheduler_on_device import FRAMES, NETWORKS, SPEC, made, manifest

ENDS_S = 20.0
"""Far beyond what any of this takes; what runs for ever is not waited for longer."""


class Mood:
    """Decides what becomes of a run: it answers, is cancelled, fails, or says nothing usable."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._turn = threading.Lock()

    def may_raise(self) -> bool:
        """Raise what the run is to raise; gives whether its answers are to be no numbers."""
        with self._turn:
            drawn = self._random.random()
        if drawn < 0.2:
            raise DeadlineError("network gave no answer by the deadline", "n", "test")
        if drawn < 0.3:
            raise EngineError("network failed while running", "n", "test")
        return drawn < 0.4


class MoodyEngine(EngineWrapper):
    def __init__(self, inner: Engine, mood: Mood) -> None:
        super().__init__(inner)
        self._mood = mood

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        return _spoilt(super().run(inputs), by=self._mood.may_raise())


class MoodyChain:
    def __init__(self, chain: CellChain, mood: Mood, puts: Mood) -> None:
        self._chain, self._mood, self._puts = chain, mood, puts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def put(self, frame: Frame, labels: UInt16) -> int | None:
        place = self._chain.put(frame, labels)
        with suppress(DeadlineError):  # none comes of a copy
            try:
                self._puts.may_raise()
            except EngineError:
                if place is not None:
                    self._chain.drop(place)
                raise
        return place

    def start(self, cells: Sequence[CellsOnFrame], networks: Sequence[str]) -> None:
        self._mood.may_raise()
        self._chain.start(cells, networks)

    def finish(self) -> dict[str, dict[str, NDArray[np.generic]]]:
        answers = self._chain.finish()
        spoilt = self._mood.may_raise()
        return {network: _spoilt(outputs, by=spoilt) for network, outputs in answers.items()}


def _spoilt(outputs: dict[str, NDArray[np.generic]], *, by: bool) -> dict[str, NDArray[np.generic]]:
    return {
        name: np.full(values.shape, np.nan, np.float32) if by else values
        for name, values in outputs.items()
    }


def scheduler(kind: str, seed: int) -> Scheduler:
    mood = Mood(seed)
    engines: dict[str, Engine] = {
        name: MoodyEngine(OrtEngine(name, onnx), mood) for name, onnx in NETWORKS.items()
    }
    batch = 1 + seed % 6
    if kind == "device":
        chain = MoodyChain(made().chain, mood, Mood(seed + 1))
        return scheduler_for(manifest(), engines, batch, chain=cast(CellChain, chain))
    workers = 3 if kind == "threads" else 1
    return scheduler_for(manifest(), engines, batch, workers, keep_pace=seed % 2 == 0)


class Books:
    """Frames in work, and the fate of each of their cells."""

    def __init__(self, of: Scheduler) -> None:
        self.of = of
        self.works: list[OpenFrame] = []
        self.entered = 0

    def enter(self, found: Detections) -> None:
        rows = np.arange(len(found), dtype=np.int64)
        prepared = PreparedFrame(found, uncut_cells(found, SPEC), (), Counter())
        work = OpenFrame(prepared, self.entered, Order(rows[:0], rows), 0, None)
        self.entered += work.count
        self.works.append(work)
        self.of.enter(work.ids, prepared.crops)

    def take(self, result: InferenceResult) -> None:
        for work in self.works:
            work.take(result)

    def step(self, *, flush: bool) -> None:
        try:
            self.take(self.of.step(flush=flush))
        except DeadlineError:
            self.check()

    def give_up(self, work: OpenFrame, *, on_purpose: bool) -> None:
        self.of.give_up(work.ids)
        _ = work.leave_out() if on_purpose else work.give_up()

    def check(self) -> None:
        """Each cell is open, and the scheduler's, or has one fate."""
        owners: Counter[int] = Counter()
        for work in self.works:
            scored = [scores.ids.tolist() for scores in work.scores]
            for cells in (*scored, work.failed, work.given_up, work.left_out, work.pending_ids):
                owners.update(cells)
            assert work.tally.seen == work.count
        assert sorted(owners) == list(range(self.entered))
        assert set(owners.values()) <= {1}
        still_open = frozenset(cell for work in self.works for cell in work.pending_ids)
        assert self.of.held == still_open


@pytest.mark.parametrize("kind", ["one by one", "threads", "device"])
@pytest.mark.parametrize("seed", range(12))
def test_each_cell_has_one_owner_after_every_step(kind: str, seed: int) -> None:
    random, of = Random(seed), scheduler(kind, seed)
    books = Books(of)
    for turn in range(40):
        drawn = random.random()
        if turn < 3 or drawn < 0.2:
            books.enter(random.choice(FRAMES))
        elif drawn < 0.75:
            books.step(flush=random.random() < 0.6)
        elif drawn < 0.85:
            books.take(of.collect())
        else:
            books.give_up(random.choice(books.works), on_purpose=random.random() < 0.3)
        books.check()
    for _ in range(1000):
        if all(work.done for work in books.works):
            break
        books.step(flush=True)
        books.check()
    assert all(work.done for work in books.works)
    of.close()


class Late(EngineWrapper):
    """Runs that end in the same moment: the first was cancelled, the others have answered."""

    def __init__(self, inner: Engine, hurry: threading.Event) -> None:
        super().__init__(inner)
        self._hurry, self._runs, self._turn = hurry, 0, threading.Lock()

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        with self._turn:
            self._runs += 1
            number = self._runs
        answers = super().run(inputs)
        if number == 2:
            self._hurry.set()
        self._hurry.wait(ENDS_S)
        if number == 1:
            raise DeadlineError("network gave no answer by the deadline", "cells", "test")
        return answers


def test_a_slide_that_must_end_ends_and_keeps_what_was_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_bundle(tmp_path / "b")
    hurry, ended = threading.Event(), WorkerThreads.ended

    def looked_at_late(workers: WorkerThreads[Any, Any], wait_s: float | None) -> list[Any]:
        hurry.wait(ENDS_S)
        time.sleep(0.2)  # both runs are over when a busy station looks
        return ended(workers, wait_s)

    monkeypatch.setattr(WorkerThreads, "ended", looked_at_late)
    outcomes: list[SlideOutcome] = []
    with open_model(tmp_path / "b") as opened:
        late = {**opened.engines, "cells": Late(opened.engines["cells"], hurry)}
        model = replace(opened, engines=late, workers=2, waiting=0)
        options = SlideOptions(batch_size=1, budget=Budget(60).with_abort(hurry))
        source = scripted([drawn_field(((60, 60), (150, 130), (60, 150)))], live=False)

        def examine() -> None:
            outcomes.append(examine_slide(model, "s", source, options, Observer()))

        thread = threading.Thread(target=examine, daemon=True)
        thread.start()
        thread.join(ENDS_S)
        assert outcomes, "the slide never ends"
    tally = outcomes[0].verdict.tally
    assert tally.seen == tally.scored + tally.not_examined == 3
    assert tally.scored >= 1, "what a neighbour answered is lost"
    assert tally.not_examined >= 1
