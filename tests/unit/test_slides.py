"""Several slides after one another: full batches across them, and no slide touches its neighbours.

Verdicts come in order, each as if its slide had been alone.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeapl.bench.instrumented_engine import WorkLog, instrumented
from edgeapl.errors import EdgeAplError, InputError, StorageError
from edgeapl.journal import Journal, read_rows
from edgeapl.model import Model, open_model
from edgeapl.pipeline import (
    Barrier,
    Observer,
    SlideJob,
    SlideOptions,
    SlideOutcome,
    examine_slide,
    examine_slides,
    producer,
    slide_pipeline,
)
from edgeapl.protocols import Arrays, Engine
from edgeapl.scoring import ScoreListener, ScoreRequest, score_folder
from edgeapl.sources.discover import SlideInput
from edgeapl.types import CellStatus, ExaminedFrame, Frame, UInt8
from tests.failing_engine import FailsOnce
from tests.small_bundle import drawn_field, png, scripted, small_bundle

FIVE_CELLS = (((60, 60), (150, 130)), ((60, 150), (150, 150), (100, 50)))
BATCH = 8

Steps = Sequence[UInt8 | Exception]


def fields(slide: int = 0) -> list[UInt8]:
    """Draw the fields of a slide; those of another are a little darker.

    So no cell is equal to one of another slide: a network is not asked about such again.
    """
    return [np.maximum(drawn_field(cells), slide) - np.uint8(slide) for cells in FIVE_CELLS]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with open_model(small_bundle(tmp_path_factory.mktemp("bundle") / "b").folder) as opened:
        yield opened


class Log:
    """Makes jobs and writes down what was told of them."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.outcomes: dict[str, SlideOutcome] = {}
        self.frames: dict[str, list[ExaminedFrame]] = {}

    def job(self, name: str, steps: Steps, **options: Any) -> SlideJob:
        self.frames[name] = []

        def keep(outcome: SlideOutcome) -> None:
            self.told.append((name, "outcome"))
            self.outcomes[name] = outcome

        def on_frame(examined: ExaminedFrame) -> None:
            self.told.append((name, "frame"))
            self.frames[name].append(examined)

        return SlideJob(
            name,
            scripted(steps, name),
            SlideOptions(**options),
            Observer(on_frame),
            lambda: self.told.append((name, "begin")),
            keep,
        )

    @property
    def order(self) -> list[str]:
        return [name for name, what in self.told if what == "outcome"]


@pytest.mark.parametrize("workers", [1, 2])
def test_slides_share_batches_and_each_is_answered_as_if_it_were_alone(
    model: Model, workers: int
) -> None:
    ledger, log = WorkLog(), Log()
    names = [f"s{number}" for number in range(7)]
    jobs = [log.job(name, fields(number)) for number, name in enumerate(names)]
    counted = instrumented(replace(model, workers=workers), ledger)
    examine_slides(counted, jobs, batch_size=BATCH)
    assert ledger.work["cells"].rows == 5 * len(names)
    assert ledger.work["cells"].runs == math.ceil(5 * len(names) / BATCH)
    assert log.order == names
    for number, name in enumerate(names):
        alone = examine_slide(model, "alone", scripted(fields(number)), SlideOptions(), Observer())
        frames = log.frames[name]
        assert np.concatenate([frame.ids for frame in frames]).tolist() == list(range(5))
        verdict = log.outcomes[name].verdict
        unnamed = replace(verdict, slide="alone", timings={}, frames=alone.verdict.frames)
        assert unnamed == replace(alone.verdict, timings={})


def test_what_is_told_of_a_slide_comes_between_those_of_its_neighbours(model: Model) -> None:
    log = Log()
    jobs: list[SlideJob | Barrier] = [log.job(name, fields()) for name in "abc"]
    jobs.insert(2, lambda: log.told.append(("turn", "outcome")))
    examine_slides(model, jobs, batch_size=100)
    assert log.order == ["a", "b", "turn", "c"]
    frames = [name for name, what in log.told if what == "frame"]
    assert frames == ["a", "a", "b", "b", "c", "c"]
    assert [name for name, what in log.told if what == "begin"] == ["a", "b", "c"]


def test_the_time_in_networks_is_counted_once(model: Model) -> None:
    log = Log()
    examine_slides(model, [log.job(name, fields()) for name in "ab"], batch_size=100)
    timings = [log.outcomes[name].verdict.timings for name in "ab"]
    assert timings[0]["infer"] > 0
    assert all(seconds >= 0 for one in timings for seconds in one.values())
    # One run for both: it was the older slide that was waited for.
    assert timings[1].get("infer", 0) < timings[0]["infer"]


def test_a_slide_without_a_readable_image_leaves_its_neighbours_alone(model: Model) -> None:
    log = Log()
    bad = InputError("image is cut off", "b.jpg", "take it again")
    jobs = [log.job("a", fields()), log.job("bad", [bad, bad]), log.job("c", fields())]
    examine_slides(model, jobs, batch_size=BATCH)
    assert log.order == ["a", "bad", "c"]
    assert log.outcomes["bad"].errors == (bad, bad)
    for name in "ac":
        assert not log.outcomes[name].errors
        assert log.outcomes[name].verdict.tally.scored == 5


def with_cells(model: Model, engine: Engine) -> Model:
    return replace(model, engines={**model.engines, "cells": engine})


def test_a_run_that_fails_is_said_in_every_slide_whose_cells_were_in_it(model: Model) -> None:
    log = Log()
    broken = with_cells(model, FailsOnce(model.engines["cells"], 2))
    # Runs of 8: cells 0-4 of a, 0-2 of b; 3-4 of b, 0-4 of c, 0 of d; the rest of d.
    jobs = [log.job(name, fields(number)) for number, name in enumerate("abcd")]
    examine_slides(broken, jobs, batch_size=BATCH)
    lost = {name: log.outcomes[name].verdict.tally.failed for name in "abcd"}
    assert lost == {"a": 0, "b": 2, "c": 5, "d": 1}
    told = {name: len(log.outcomes[name].errors) for name in "abcd"}
    assert told == {"a": 0, "b": 1, "c": 1, "d": 1}
    status = [one for frame in log.frames["d"] for one in frame.status]
    assert status.count(CellStatus.FAILED) == 1


@pytest.mark.parametrize("error", [StorageError("disk is full", "x", "make room"), ValueError()])
def test_an_error_of_the_jobs_comes_after_the_slides_before_it(
    model: Model, error: Exception
) -> None:
    log = Log()

    def jobs() -> Iterator[SlideJob]:
        yield log.job("a", fields())
        yield log.job("b", fields())
        raise error

    with pytest.raises(type(error)):
        examine_slides(model, jobs(), batch_size=100)
    assert log.order == ["a", "b"]


def test_a_slide_that_can_not_begin_ends_the_run_after_those_before_it(model: Model) -> None:
    log = Log()

    def refuse() -> None:
        raise StorageError("results are damaged", "b", "remove them")

    jobs = [log.job("a", fields()), replace(log.job("b", fields()), on_begin=refuse)]
    with pytest.raises(StorageError):
        examine_slides(model, jobs, batch_size=100)
    assert log.order == ["a"]


def test_few_slides_are_open_at_a_time(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeapl.pipeline.examiner.MOST_OPEN_SLIDES", 3)
    log, ledger = Log(), WorkLog()
    jobs = [log.job(str(number), fields(number)) for number in range(9)]
    examine_slides(instrumented(model, ledger), jobs, batch_size=1000)
    balance = np.cumsum([{"begin": 1, "outcome": -1}.get(what, 0) for _, what in log.told])
    assert balance.max() == 3
    assert ledger.work["cells"].runs == 3


def test_a_slide_that_is_closed_while_a_network_runs_keeps_all_that_was_read(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading thread has no room for what it has read, for longer than it waits at a time."""
    monkeypatch.setattr(producer, "READ_TIMEOUT_S", 0.01)
    monkeypatch.setattr(slide_pipeline, "cpu_cores", lambda: 2)  # one in the queue
    stop = threading.Event()
    full = threading.Event()
    pixels = [drawn_field(((50 + 20 * number, 100),)) for number in range(6)]
    source = scripted(pixels)
    read = source.read
    given: list[int] = []

    def reading(timeout_s: float) -> Frame:
        frame = read(timeout_s)
        given.append(frame.index)
        if frame.index == 3:  # one is in work, one in the queue, one waits for room
            full.set()
        return frame

    source.read = reading  # type: ignore[method-assign]

    class Slow(FailsOnce):
        def run(self, inputs: Arrays) -> Any:
            if not stop.is_set():
                full.wait(0.3)
                stop.set()
                threading.Event().wait(0.1)
            return super().run(inputs)

    frames: list[ExaminedFrame] = []
    slow = with_cells(model, Slow(model.engines["cells"], 0))
    options, observer = SlideOptions(batch_size=1), Observer(frames.append)
    run = threading.Thread(
        target=examine_slide, args=(slow, "s", source, options, observer, stop), daemon=True
    )
    run.start()
    run.join(30)
    assert not run.is_alive(), "the end of the slide was lost, too"
    assert [frame.frame.index for frame in frames] == given


@pytest.fixture
def smears(tmp_path: Path) -> Path:
    folder = tmp_path / "smears"
    for darker, slide in enumerate("abcde"):
        (folder / slide).mkdir(parents=True)
        for number, pixels in enumerate(fields(darker)):
            (folder / slide / f"{number}.png").write_bytes(png(pixels))
    return folder


def score(
    model: Model, folder: Path, on_slide: Callable[[dict[str, Any], bool], None]
) -> list[dict[str, Any]]:
    request = ScoreRequest(folder, folder.parent / "out", um_per_px=0.2, batch_size=BATCH)
    with Journal.open(folder.parent / "journal.sqlite3") as journal:
        done = score_folder(request, model, journal, ScoreListener(on_slide=on_slide))
    return list(done.records)


def test_a_folder_of_slides_is_scored_in_batches_across_slides_and_resumed_in_order(
    model: Model, smears: Path
) -> None:
    ledger = WorkLog()
    told: list[tuple[str, bool]] = []

    def tell(record: dict[str, Any], resumed: bool) -> None:
        told.append((record["slide"], resumed))

    first = score(instrumented(model, ledger), smears, tell)
    assert ledger.work["cells"].runs == math.ceil(25 / BATCH)
    assert told == [(slide, False) for slide in "abcde"]
    (smears / "c" / "0.png").write_bytes(png(drawn_field(((100, 100),))))
    told.clear()
    again = score(model, smears, tell)
    assert told == [(slide, slide != "c") for slide in "abcde"]
    assert [one == other for one, other in zip(first, again, strict=True)] == [
        slide != "c" for slide in "abcde"
    ]
    assert len(read_rows(smears.parent / "journal.sqlite3")) == 6


def test_an_interruption_does_not_wait_for_the_next_slide_to_be_hashed(
    model: Model, smears: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    hashing = threading.Event()

    def slow(file: Path) -> str:
        if file.parent.name == "b":
            hashing.set()
            assert ended.wait(30)
        hashed.append(file)
        return "digest"

    ended = threading.Event()
    leave = producer.Producer.__exit__

    def leaving(self: producer.Producer, *given: object) -> None:
        self._stop.set()
        ended.set()
        leave(self, *given)

    def interrupt(slide: SlideInput, examined: ExaminedFrame) -> None:
        if examined.frame.index == 1:  # the slide's last: nothing of it waits for room any more
            assert hashing.wait(30)
            raise KeyboardInterrupt

    monkeypatch.setattr("edgeapl.scoring.slides.content_digest", slow)
    monkeypatch.setattr(producer.Producer, "__exit__", leaving)
    monkeypatch.setattr("edgeapl.pipeline.examiner.MOST_HELD_BYTES", 0)  # a frame is done at once
    request = ScoreRequest(smears, smears.parent / "out", um_per_px=0.2)
    with (
        Journal.open(smears.parent / "journal.sqlite3") as journal,
        pytest.raises(KeyboardInterrupt),
    ):
        score_folder(request, model, journal, ScoreListener(on_frame=interrupt))
    assert [file.parent.name for file in hashed] == ["a", "a", "b"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StorageError("no", "room", "")])
def test_an_interruption_loses_no_finished_slide_and_leaves_no_half_one(
    model: Model, smears: Path, error: BaseException
) -> None:
    def interrupt(record: dict[str, Any], resumed: bool) -> None:
        if record["slide"] == "b":
            raise error

    with pytest.raises((KeyboardInterrupt, EdgeAplError)):
        score(model, smears, interrupt)
    slides = smears.parent / "out" / "slides"
    assert sorted(path.name for path in slides.iterdir()) == ["a", "b"]
    told: list[tuple[str, bool]] = []
    score(model, smears, lambda record, resumed: told.append((record["slide"], resumed)))
    assert told == [(slide, slide in "ab") for slide in "abcde"]
