"""How much work a slide is, counted: a slower program shows here on any machine, however busy.

Every threshold is what the work needs, plus what stands in its comment. Raise one only with the
reason for it.
"""

from __future__ import annotations

import gc
import math
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest

from edgeapl.bench.instrumented_engine import WorkLog, instrumented
from edgeapl.bundle.specs import CropSpec
from edgeapl.closable import ClosesItself
from edgeapl.errors import EndOfSource
from edgeapl.examination import prepare_frame
from edgeapl.inference.answer_memo import AnswerMemo
from edgeapl.journal import Journal
from edgeapl.journal.location import anchor_path
from edgeapl.model import Model, open_model
from edgeapl.pipeline import Budget, Observer, Progress, SlideOptions, examine_slide
from edgeapl.pipeline.slide_pipeline import MOST_SEARCHERS
from edgeapl.sources.decode import read_image
from edgeapl.stages import focus
from edgeapl.stages.crop import UncutCells, cut_cells
from edgeapl.stages.gate import FieldHistory, FieldLook
from edgeapl.stages.segment import HsvWatershed
from edgeapl.types import Detections, ExaminedFrame, Frame, UInt8
from tests.small_bundle import SIZE, drawn_field, png, small_bundle

FIELDS = [
    ((60, 60), (150, 130)),
    ((50, 140), (140, 50)),
    ((60, 150), (150, 150), (100, 50)),
    ((60, 60), (150, 60), (60, 150), (150, 150)),
]
CELLS = sum(len(field) for field in FIELDS)
BATCH = 4
CORNERS = 2**3  # of the box of the three roles' shares, at which the head is asked
CROP_BYTES = SIZE * SIZE * 3


class Fields(ClosesItself):
    """Implements FrameSource: the drawn fields, and after those as many others as wanted."""

    name = "fields"

    def __init__(self, frames: int, *, live: bool = False) -> None:
        self.live = live
        self._frames = frames
        self._next = 0

    def read(self, timeout_s: float) -> Frame:
        if self._next == self._frames:
            raise EndOfSource
        index = self._next
        self._next += 1
        return frame_of(field_of(index), index)

    def close(self) -> None:
        self._next = self._frames


def field_of(index: int) -> UInt8:
    """Draw a field; the gate takes those after the first four for others, too."""
    if index < len(FIELDS):
        return drawn_field(FIELDS[index])
    random = np.random.default_rng(index)
    places = [(int(x), int(y)) for x, y in random.integers(30, 170, (random.integers(2, 5), 2))]
    return drawn_field(places)


def frame_of(pixels: UInt8, index: int = 0) -> Frame:
    return Frame(pixels, index, index, 0.2, f"{index}.png", f"{index:064d}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small").folder


@pytest.fixture
def ledger() -> WorkLog:
    return WorkLog()


@pytest.fixture
def model(folder: Path, ledger: WorkLog) -> Iterator[Model]:
    with open_model(folder) as opened:
        yield instrumented(opened, ledger)


def examine(model: Model, source: Fields, *, told: bool = False) -> int:
    """Examine a slide; give the number of verdicts that were worked out on the way."""
    verdicts = [1]

    def count(progress: Progress) -> None:
        verdicts.append(1)

    observer = Observer(on_progress=count if told else None)
    outcome = examine_slide(model, "slide", source, SlideOptions(batch_size=BATCH), observer)
    assert outcome.errors == ()
    assert outcome.verdict.tally.lost == 0
    return len(verdicts)


def test_a_folder_is_examined_in_full_batches_that_span_frames(
    model: Model, ledger: WorkLog
) -> None:
    examine(model, Fields(len(FIELDS)))
    # Full batches, and one for what is left: no frame starts a batch of its own.
    assert ledger.work["cells"].runs == math.ceil(CELLS / BATCH)
    assert ledger.work["cells"].rows == CELLS


def test_a_live_frame_is_answered_by_itself_in_as_few_batches_as_it_needs(
    model: Model, ledger: WorkLog
) -> None:
    examine(model, Fields(len(FIELDS), live=True))
    # A batch may still span two frames when the second was ready in time; it is never asked for
    # more than the batches that every frame needs by itself.
    most = sum(math.ceil(len(cells) / BATCH) for cells in FIELDS)
    assert math.ceil(CELLS / BATCH) <= ledger.work["cells"].runs <= most


def test_every_cell_is_given_to_the_network_once_as_bytes(model: Model, ledger: WorkLog) -> None:
    examine(model, Fields(len(FIELDS)))
    # uint8, as it was cut: float32 would be four times as much over the bus, or into a process.
    assert ledger.work["cells"].bytes_in == CELLS * CROP_BYTES


def test_the_head_is_asked_once_for_the_answer_and_once_for_each_corner(
    model: Model, ledger: WorkLog
) -> None:
    verdicts = examine(model, Fields(len(FIELDS)), told=True)
    # 1 + 8 a verdict, with one verdict for every finished frame and the last one.
    assert verdicts <= len(FIELDS) + 1
    assert ledger.work["head"].runs == verdicts * (1 + CORNERS)


def test_one_session_for_every_network_and_none_while_a_slide_is_examined(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    session = onnxruntime.InferenceSession

    def counted(*arguments: Any, **options: Any) -> Any:
        made.append(1)
        return session(*arguments, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", counted)
    with open_model(folder) as opened:
        # One for every network of the bundle: two sessions of one network hold its weights twice,
        # and workers can call one session at the same time.
        assert len(made) == len(opened.engines) == 2
        examine(opened, Fields(len(FIELDS)))
    assert len(made) == 2


def traced_peak(call: Any) -> int:
    """Give the most memory that Python, numpy and OpenCV's images took while it ran, bytes."""
    call()  # once before: caches are made, modules imported
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = call()
        peak = tracemalloc.get_traced_memory()[1]
        del kept
    finally:
        tracemalloc.stop()
    return peak - before


LARGE = np.tile(drawn_field(FIELDS[0]), (4, 5, 1))  # 800 x 1000 px, 2.4 MB


def test_an_image_is_decoded_into_the_only_copy_of_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png(LARGE))
    # The file's bytes (read in pieces and joined: twice), and one image; colours are turned in
    # place. A second image would be 1.0 more.
    allowed = LARGE.nbytes + 2 * path.stat().st_size + (64 << 10)
    assert traced_peak(lambda: read_image(path)) <= allowed


@pytest.mark.parametrize("workers", [1, 2])
def test_frames_are_decoded_and_searched_in_no_thread_that_runs_a_network(
    model: Model, workers: int
) -> None:
    threads: dict[str, set[int]] = {"read": set(), "search": set(), "ask": set()}

    def noting(what: str, function: Any) -> Any:
        def noted(*arguments: Any) -> Any:
            threads[what].add(threading.get_ident())
            return function(*arguments)

        return noted

    class Asked:
        run = staticmethod(noting("ask", model.engines["cells"].run))

        def __getattr__(self, name: str) -> Any:
            return getattr(model.engines["cells"], name)

    class Searched:
        segment = staticmethod(noting("search", model.segmenter.segment))

    source = Fields(len(FIELDS))
    source.read = noting("read", source.read)  # type: ignore[method-assign]
    engines = {**model.engines, "cells": cast(Any, Asked())}
    examine(replace(model, engines=engines, segmenter=Searched(), workers=workers), source)
    # While a network runs, the next frames are made ready.
    assert len(threads["read"]) == 1
    assert 1 <= len(threads["search"]) <= MOST_SEARCHERS
    assert 1 <= len(threads["ask"]) <= workers
    assert not threads["ask"] & (threads["read"] | threads["search"])


@pytest.mark.parametrize("budget", [None, Budget(60)])
def test_one_cell_is_given_to_the_network_as_it_was_cut(
    model: Model, budget: Budget | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[UInt8] = []
    given: list[UInt8] = []
    cells = model.engines["cells"]
    cut_one = UncutCells.cut_one

    def kept(uncut: UncutCells, row: int) -> UInt8:
        cut.append(cut_one(uncut, row))
        return cut[-1]

    class Noting:
        def __getattr__(self, name: str) -> Any:
            return getattr(cells, name)

        def run(self, inputs: Any) -> Any:
            given.append(inputs["cells"])
            return cells.run(inputs)

    monkeypatch.setattr(UncutCells, "cut_one", kept)
    noting = replace(model, engines={**model.engines, "cells": cast(Any, Noting())})
    options = SlideOptions(batch_size=1, budget=budget)
    examine_slide(noting, "slide", Fields(len(FIELDS)), options, Observer())
    # In order of suspicion as well, which was a copy of all cells once more.
    assert len(given) == len(cut) == CELLS
    assert all(any(np.shares_memory(one, crops) for crops in cut) for one in given)


def test_cells_are_resized_into_their_place() -> None:
    frame = frame_of(LARGE.copy())
    found = HsvWatershed().segment(frame)
    spec = CropSpec(window_um=20, size_px=299)
    peak = traced_peak(lambda: cut_cells(found, spec))
    one = 299 * 299 * 3
    # The cells, and once in a while a cut with repeated edge pixels; no second image of any cell.
    assert peak <= len(found) * one + 100 * 100 * 3 + (32 << 10)


class Known:
    """Implements Segmenter: the cells are known already."""

    def __init__(self, detections: Detections) -> None:
        self._detections = detections

    def segment(self, frame: Frame) -> Detections:
        return self._detections


def test_gate_and_crops_copy_no_frame(folder: Path) -> None:
    with open_model(folder) as model:
        frame = frame_of(LARGE.copy())
        found = model.segmenter.segment(frame)
        known = replace(model, segmenter=Known(found))
        peak = traced_peak(lambda: prepare_frame(known, frame, FieldHistory(), crops=False))
    # What the gate measures the focus on: float32 planes of nine tiles, which cover all of a frame
    # of this size. Measured: 2.78 times the frame. A copy of it would be 1.0 more. The cells are
    # not cut before a network sees them.
    assert peak <= 3.0 * frame.pixels.nbytes


def test_the_segmenter_takes_no_more_planes_than_it_did(folder: Path) -> None:
    with open_model(folder) as model:
        frame = frame_of(LARGE.copy())
        peak = traced_peak(lambda: model.segmenter.segment(frame))
    # Measured: 11.87 times the frame: planes of one to four bytes per pixel at full size, of which
    # the three of densities (4.0) stay until the end, and the two that the outline of whole cells
    # goes by (1.7; they were a tenth of that while the outline was drawn by distance alone). One
    # more of float32 would be 0.85 to 1.33 more.
    assert peak <= 12.4 * frame.pixels.nbytes


def test_frames_already_in_memory_are_not_copied_on_the_way_to_the_report(model: Model) -> None:
    source = Fields(len(FIELDS))
    pixels: list[UInt8] = []
    read = source.read

    def noted(timeout_s: float) -> Frame:
        frame = read(timeout_s)
        pixels.append(frame.pixels)
        return frame

    source.read = noted  # type: ignore[method-assign]
    seen: list[ExaminedFrame] = []
    observer = Observer(seen.append)
    examine_slide(model, "slide", source, SlideOptions(batch_size=BATCH), observer)
    assert [frame.frame.pixels is given for frame, given in zip(seen, pixels, strict=True)] == [
        True
    ] * len(FIELDS)


@pytest.mark.slow
def test_memory_is_flat_from_the_tenth_frame_to_the_hundredth(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Answers are remembered up to a bound of their own, which a hundred frames do not reach.
    monkeypatch.setattr("edgeapl.pipeline.examiner.AnswerMemo", lambda: AnswerMemo(0))
    held: dict[int, int] = {}
    blocks: dict[int, int] = {}
    used = []

    def look(examined: ExaminedFrame) -> None:
        if not examined.rejected:
            used.append(examined.frame.index)
        if examined.frame.index in (10, 99):
            gc.collect()
            held[examined.frame.index] = tracemalloc.get_traced_memory()[0]
            blocks[examined.frame.index] = sys.getallocatedblocks()

    tracemalloc.start()
    try:
        examine_slide(model, "slide", Fields(100), SlideOptions(batch_size=BATCH), Observer(look))
    finally:
        tracemalloc.stop()
    kept = sum(index > 10 for index in used)
    assert kept > 60  # the gate takes a few for fields that it saw before
    # What is kept of a frame: its digest and name, the gate's descriptor (4 KB), strata, counts.
    # Up to four frames (120 KB each with labels and crops) are on their way, more or fewer.
    frame_bytes = 200 * 200 * (3 + 2) + 4 * CROP_BYTES
    assert held[99] - held[10] <= kept * (16 << 10) + 5 * frame_bytes
    # Objects kept of a frame: name, digest, their pair, two strata with their counts, an entry in
    # the gate's memory: a dozen. Those of frames on their way are in a hundred or two each.
    assert blocks[99] - blocks[10] <= kept * 15 + 5 * 200


@pytest.mark.parametrize("live", [False, True])
def test_pixels_of_rejected_frames_are_not_kept(model: Model, live: bool) -> None:
    source = Fields(30, live=live)
    pixels: list[weakref.ref[UInt8]] = []
    read = source.read

    def noted(timeout_s: float) -> Frame:
        dark = frame_of(np.zeros((200, 200, 3), np.uint8), read(timeout_s).index)
        pixels.append(weakref.ref(dark.pixels))
        return dark

    source.read = noted  # type: ignore[method-assign]
    most = 0

    def look(examined: ExaminedFrame) -> None:
        nonlocal most
        assert examined.rejected
        most = max(most, sum(one() is not None for one in pixels))

    outcome = examine_slide(model, "slide", source, SlideOptions(), Observer(look))
    assert len(pixels) == 30
    # One here, three in the queue, one in front of it, one being read.
    assert most <= 6
    assert "frame_black" in [reason.code for reason in outcome.verdict.reasons]


class AnyStain:
    """Stands where a DomainModel does; every slide is like the model's own."""

    def judge_slide(self, cells: int, slide: Any) -> tuple[()]:
        return ()

    def distances(self, slide: Any) -> dict[str, tuple[float, float]]:
        return {}


def test_the_edges_of_a_frame_are_looked_for_once(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    tiles = focus._working_tiles

    def counted(pixels: UInt8, um_per_px: float) -> Any:
        found.append(1)
        return tiles(pixels, um_per_px)

    monkeypatch.setattr(focus, "_working_tiles", counted)
    with_domain = replace(model, domain=cast(Any, AnyStain()))
    examine(with_domain, Fields(len(FIELDS)))
    # For focus, for motion and for the look of the slide: tiles, blur and slopes are shared.
    assert len(found) == len(FIELDS)


def test_remembering_a_field_copies_no_other() -> None:
    random = np.random.default_rng(0)
    memory = FieldHistory()
    before = memory
    for number in range(1000):
        before = memory
        detail = random.integers(-127, 128, (64, 64)).astype(np.int8)
        look = FieldLook(random.normal(size=1024).astype(np.float32), detail)
        memory = memory.with_field(str(number), look)
    for blocks, old in (
        (memory.descriptors, before.descriptors),
        (memory.details, before.details),
    ):
        shared = {id(block) for block in old}
        fresh = [block for block in blocks if id(block) not in shared]
        # One block of up to 64 fields of 4 KB; the other 936 fields are the same arrays as before.
        assert sum(block.nbytes for block in fresh) <= 64 * 4096
        assert sum(len(block) for block in blocks) == 1000


def test_a_commit_writes_one_row_and_a_slide_commits_once(model: Model, tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.sqlite3") as journal:
        outcome = examine_slide(model, "s", Fields(4), SlideOptions(batch_size=BATCH), Observer())
        anchor = anchor_path(journal.path)
        before = anchor.stat().st_size
        journal.commit(outcome.verdict)
        grown = anchor.stat().st_size - before
    # Number and hash of one row in the anchor.
    assert 64 < grown < 160
