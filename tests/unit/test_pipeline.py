"""One slide from frames to a verdict: every cell counted, nothing lost without a word."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeapl.closable import ClosesItself
from edgeapl.engines.ort import OrtEngine
from edgeapl.errors import CameraError, EndOfSource, InputError, SourceStalled
from edgeapl.inference.answer_memo import AnswerMemo
from edgeapl.model import Model, open_model
from edgeapl.pipeline import (
    Observer,
    Progress,
    SlideJob,
    SlideOptions,
    SlideOutcome,
    examine_slide,
    examine_slides,
    examiner,
    memory_budget,
)
from edgeapl.report import pictures, writer
from edgeapl.report.context import report_context
from edgeapl.types import CellStatus, Decision, ExaminedFrame, Frame, UInt8, Verdict
from tests.failing_engine import FailsOnce
from tests.small_bundle import cell_network, drawn_field, scripted, small_bundle

FIELDS = [
    ((60, 60), (150, 130)),
    ((50, 140), (140, 50)),
    ((100, 100),),
    ((60, 150), (150, 150), (100, 50)),
    (),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    folder = tmp_path_factory.mktemp("bundle") / "b"
    small_bundle(folder)
    with open_model(folder) as opened:
        yield opened


def run(
    model: Model,
    steps: Sequence[UInt8 | Exception],
    *,
    batch_size: int = 4,
    live: bool = False,
    stop: threading.Event | None = None,
    max_frames: int | None = None,
) -> tuple[SlideOutcome, list[ExaminedFrame], list[Progress]]:
    frames: list[ExaminedFrame] = []
    states: list[Progress] = []
    options = SlideOptions(batch_size=batch_size, max_frames=max_frames)
    source = scripted(steps, live=live)
    outcome = examine_slide(
        model, "s", source, options, Observer(frames.append, states.append), stop
    )
    return outcome, frames, states


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
@pytest.mark.parametrize("live", [False, True])
def test_cells_are_conserved_and_the_batch_size_changes_nothing(
    model: Model, batch_size: int, live: bool
) -> None:
    fields = [drawn_field(cells) for cells in FIELDS]
    outcome, frames, states = run(model, fields, batch_size=batch_size, live=live)
    reference, _, _ = run(model, fields, batch_size=7)
    found = sum(len(frame.detections) for frame in frames)
    assert found >= 7
    assert outcome.verdict.tally.seen == outcome.verdict.tally.scored == found
    ids = np.concatenate([frame.ids for frame in frames])
    assert ids.tolist() == list(range(found))
    assert [frame.frame.index for frame in frames] == list(range(len(FIELDS)))
    assert len([state for state in states if state.finished_ns is not None]) == len(FIELDS)
    assert replace(outcome.verdict, timings={}) == replace(reference.verdict, timings={})


@pytest.mark.parametrize("batch_size", [1, 4])
def test_slides_of_the_same_files_count_as_ever_and_run_once(
    model: Model, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    rows: list[int] = []
    original = OrtEngine.run

    def counted(self: OrtEngine, inputs: Any) -> Any:
        if "cells" in inputs:
            rows.append(len(inputs["cells"]))
        return original(self, inputs)

    def verdicts() -> list[Verdict]:
        rows.clear()
        outcomes: list[SlideOutcome] = []
        jobs = [
            SlideJob(name, scripted(fields), SlideOptions(), Observer(), on_outcome=outcomes.append)
            for name in "ab"
        ]
        examine_slides(model, jobs, batch_size=batch_size)
        return [replace(outcome.verdict, timings={}) for outcome in outcomes]

    monkeypatch.setattr(OrtEngine, "run", counted)
    fields = [drawn_field(cells) for cells in FIELDS]
    seen = sum(len(cells) for cells in FIELDS)
    remembered, once = verdicts(), sum(rows)
    monkeypatch.setattr(AnswerMemo, "find", lambda *_: None)
    plain, twice = verdicts(), sum(rows)
    assert seen <= once <= seen + batch_size < twice == 2 * seen  # a batch may hold both
    assert remembered == plain


@pytest.mark.parametrize("live", [False, True])
def test_half_a_frame_that_stands_still_is_not_examined(model: Model, live: bool) -> None:
    first, second = drawn_field(FIELDS[0]), drawn_field(FIELDS[1])
    whole, _, _ = run(model, [first, second], live=live)
    assert whole.verdict.examined_share == 1
    torn = np.vstack([first[:100], second[100:]])
    outcome, _, _ = run(model, [first, torn], live=live)
    share = outcome.verdict.examined_share
    assert share is not None
    assert share < 0.85


def test_a_frame_that_can_not_be_read_is_an_error_and_the_others_are_kept(model: Model) -> None:
    bad = InputError("image is cut off", "b.jpg", "take it again")
    outcome, frames, _ = run(model, [drawn_field(FIELDS[0]), bad, drawn_field(FIELDS[1])])
    assert outcome.errors == (bad,)
    assert len(frames) == 2
    codes = [reason.code for reason in outcome.verdict.reasons]
    assert "input_failed" in codes
    assert outcome.verdict.decision is not Decision.CLEAR


def test_a_camera_that_fails_ends_the_slide_with_what_was_seen(model: Model) -> None:
    lost = CameraError("camera is gone", "0", "plug it in")
    outcome, frames, _ = run(
        model, [drawn_field(FIELDS[0]), lost, drawn_field(FIELDS[1])], live=True
    )
    assert len(frames) == 1
    assert outcome.errors == (lost,)
    assert outcome.verdict.decision is not Decision.CLEAR


def test_a_silent_source_is_waited_for(model: Model) -> None:
    stalled = SourceStalled("no frame", "0", "wait")
    outcome, frames, _ = run(model, [stalled, drawn_field(FIELDS[0]), stalled], live=True)
    assert len(frames) == 1
    assert not outcome.errors


def test_a_bug_in_the_reading_thread_is_raised_not_swallowed(model: Model) -> None:
    with pytest.raises(ZeroDivisionError):
        run(model, [drawn_field(FIELDS[0]), ZeroDivisionError()])


def test_a_slide_without_a_usable_frame_is_reviewed(model: Model) -> None:
    outcome, frames, _ = run(model, [np.zeros((200, 200, 3), np.uint8)])
    assert frames[0].rejected
    assert outcome.verdict.decision is Decision.REVIEW
    nothing, _, _ = run(model, [])
    assert nothing.verdict.decision is Decision.REVIEW
    assert nothing.verdict.probability is None


def test_a_stop_finishes_what_was_read(model: Model) -> None:
    stop = threading.Event()
    stop.set()
    outcome, frames, _ = run(model, [drawn_field(FIELDS[0])] * 5, stop=stop)
    assert not frames
    assert outcome.verdict.decision is Decision.REVIEW
    few, frames, _ = run(model, [drawn_field(cells) for cells in FIELDS], max_frames=2)
    assert len(frames) == 2
    assert few.verdict.tally.scored == few.verdict.tally.seen


def test_a_run_that_fails_costs_its_cells_and_is_told(model: Model) -> None:
    failing = FailsOnce(model.engines["cells"], 2)
    broken = replace(model, engines={**model.engines, "cells": failing})
    outcome, frames, _ = run(broken, [drawn_field(cells) for cells in FIELDS], batch_size=2)
    tally = outcome.verdict.tally
    assert tally.failed == 2
    assert tally.seen == tally.scored + 2
    failed = [s for frame in frames for s in frame.status if s is CellStatus.FAILED]
    assert len(failed) == 2
    assert outcome.verdict.decision is not Decision.CLEAR
    assert "engine_failed" in [reason.code for reason in outcome.verdict.reasons]


def test_cells_without_a_number_are_failed_never_negative(tmp_path: Path) -> None:
    small_bundle(tmp_path / "b")
    nan = cell_network(weights=np.full((3, 3), np.nan))
    with open_model(tmp_path / "b") as model:
        blind = replace(model, engines={**model.engines, "cells": OrtEngine("cells", nan)})
        outcome, frames, _ = run(blind, [drawn_field(FIELDS[0])])
    assert outcome.verdict.decision is Decision.REVIEW
    assert outcome.verdict.tally.failed == outcome.verdict.tally.seen > 0
    assert np.isnan(frames[0].suspicion).all()


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("batch_size", [2, 1000])
def test_large_frames_go_through_one_by_one(
    model: Model, monkeypatch: pytest.MonkeyPatch, batch_size: int, live: bool
) -> None:
    """However many cells a batch waits for: it would wait for ever for cells of the next frame."""
    fields = [drawn_field(cells) for cells in FIELDS]
    size = fields[0].nbytes
    monkeypatch.setattr(memory_budget, "MOST_BYTES", 2 * size - 1)
    under_way: list[int] = []
    most = [0]

    source = scripted(fields, live=live)
    given = source.read

    def read(timeout_s: float) -> Frame:
        frame = given(timeout_s)
        under_way.append(frame.index)
        most[0] = max(most[0], len(under_way))
        return frame

    monkeypatch.setattr(source, "read", read)
    observer = Observer(lambda examined: under_way.remove(examined.frame.index))
    outcome = examine_slide(model, "s", source, SlideOptions(batch_size=batch_size), observer)
    assert outcome.verdict.tally.scored >= 7
    assert most == [1]
    assert not under_way


class OneAfterAnother(ClosesItself):
    """Implements FrameSource; counts at each read how many of its frames are still in memory."""

    name = "one after another"

    def __init__(self, *, live: bool) -> None:
        self.live = live
        self.left: list[int] = []
        self._given: list[weakref.ref[UInt8]] = []

    def read(self, timeout_s: float) -> Frame:
        self.left.append(sum(pixels() is not None for pixels in self._given))
        index = len(self._given)
        if index == len(FIELDS):
            raise EndOfSource
        pixels = drawn_field(FIELDS[index])
        self._given.append(weakref.ref(pixels))
        return Frame(pixels, index, index, 0.2, f"{index}.png", f"{index:064d}")

    def close(self) -> None:
        pass


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_left_of_a_large_frame_when_the_next_one_is_read(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: bool, workers: int
) -> None:
    """Neither who reads nor who asks nor who draws holds it while the next one is decoded."""
    size = drawn_field(FIELDS[0]).nbytes
    monkeypatch.setattr(memory_budget, "MOST_BYTES", size)
    monkeypatch.setattr(writer, "MOST_DRAWING_BYTES", size - 1)
    draw = pictures.draw_overlay

    def draw_slowly(*given: Any) -> UInt8:
        time.sleep(0.05)
        return draw(*given)

    monkeypatch.setattr(writer, "draw_overlay", draw_slowly)
    context = report_context(model.bundle.manifest, crops=False)
    files = writer.SlideWriter(tmp_path, "s", context)
    source = OneAfterAnother(live=live)
    options = SlideOptions(batch_size=2)
    examine_slide(replace(model, workers=workers), "s", source, options, Observer(files.add))
    files.abandon()
    assert source.left == [0] * (len(FIELDS) + 1)


def test_a_review_never_names_what_a_flag_or_a_clear_slide_stands_on(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor in the middle of a frame, whose other cells could take the flag away."""
    monkeypatch.setattr(examiner, "TICK_S", 0.0)
    half = drawn_field([(50, 50), (150, 50)], nucleus=(170, 60, 140))
    half[100:] = drawn_field([(50, 150), (150, 150)])[100:]
    _, _, states = run(model, [half], batch_size=2, live=True)
    reviews = [state.verdict for state in states if state.verdict.decision is Decision.REVIEW]
    codes = [[reason.code for reason in verdict.reasons] for verdict in reviews]
    assert any("examining" in one and "would_flag" in one for one in codes)
    assert not any({"flag", "clear"} & set(one) for one in codes)
