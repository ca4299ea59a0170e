"""Frames of a folder that are searched for cells at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from edgeapl.errors import EngineError
from edgeapl.model import Model, open_model
from edgeapl.pipeline import Observer, SlideOptions, SlideOutcome, slide_pipeline
from edgeapl.pipeline.slide_pipeline import examine_slide
from edgeapl.protocols import Segmenter
from edgeapl.types import Detections, ExaminedFrame, Frame
from tests.small_bundle import drawn_field, scripted, small_bundle

FIELDS = [((60, 60),), ((50, 140), (140, 50)), ((100, 100),), ((60, 150), (150, 60))]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with open_model(small_bundle(tmp_path_factory.mktemp("bundle") / "b").folder) as opened:
        yield opened


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slide_pipeline, "cpu_cores", lambda: 2)


class Told:
    """Implements Segmenter: calls `before` with a frame's index, then lets another one search."""

    def __init__(self, inner: Segmenter, before: Callable[[int], None]) -> None:
        self._inner = inner
        self._before = before

    def segment(self, frame: Frame) -> Detections:
        self._before(frame.index)
        return self._inner.segment(frame)


def run(model: Model, before: Callable[[int], None]) -> tuple[SlideOutcome, list[ExaminedFrame]]:
    frames: list[ExaminedFrame] = []
    told = replace(model, segmenter=Told(model.segmenter, before))
    fields = [drawn_field(cells) for cells in FIELDS]
    outcome = examine_slide(told, "s", scripted(fields), SlideOptions(), Observer(frames.append))
    return outcome, frames


def test_a_frame_that_is_found_late_is_still_answered_first(model: Model) -> None:
    later = threading.Event()

    def before(index: int) -> None:
        if index == 0:
            assert later.wait(20), "the second frame was not searched beside the first"
        later.set()

    outcome, frames = run(model, before)
    assert [one.frame.index for one in frames] == [0, 1, 2, 3]
    plain, _ = run(model, lambda index: None)
    assert replace(outcome.verdict, timings={}) == replace(plain.verdict, timings={})


def test_an_error_of_a_search_costs_its_own_frame(model: Model) -> None:
    wrong = EngineError("network failed while running", "detector", "no more")

    def before(index: int) -> None:
        if index == 1:
            raise wrong

    outcome, frames = run(model, before)
    assert outcome.errors == (wrong,)
    assert [one.frame.index for one in frames] == [0, 2, 3]


def test_a_bug_in_a_search_is_raised_after_the_frames_before(model: Model) -> None:
    def before(index: int) -> None:
        if index == 2:
            raise ZeroDivisionError

    frames: list[ExaminedFrame] = []
    told = replace(model, segmenter=Told(model.segmenter, before))
    source = scripted([drawn_field(cells) for cells in FIELDS])
    with pytest.raises(ZeroDivisionError):
        examine_slide(told, "s", source, SlideOptions(), Observer(frames.append))
    assert [one.frame.index for one in frames] == [0, 1]


def test_nothing_searches_on_when_the_slide_is_over(model: Model) -> None:
    run(model, lambda index: None)
    assert not [one.name for one in threading.enumerate() if one.name.startswith("edgeapl-")]
