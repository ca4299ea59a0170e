"""`edgeapl bench`: what it measures is what happened, and what it cannot know it says."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from edgeapl.bench.candidate import Candidate, Setup, open_candidate
from edgeapl.bench.comparison import compare
from edgeapl.bench.document import document
from edgeapl.bench.energy import Meters
from edgeapl.bench.floor import measure_floor
from edgeapl.bench.glass_to_flag import TimedJournal
from edgeapl.bench.instrumented_engine import InstrumentedEngine, WorkLog
from edgeapl.bench.runner import INSIDE, Deadline, FrameTimes, Pass, grown, rest_of
from edgeapl.bench.scenarios import Measured, Plan, Scenario, measure, open_runner
from edgeapl.bench.sources import BenchCamera, PacedSource, read_all
from edgeapl.bench.time_limit import TimeLimit
from edgeapl.bench.workload import BenchSlide, Workload, open_workload
from edgeapl.errors import (
    ConfigError,
    EndOfSource,
    EngineError,
    InputError,
    SourceStalled,
    UsageError,
)
from edgeapl.journal import Journal, read_rows
from edgeapl.model.engine_choice import ChosenEngines
from edgeapl.pixel_size import SlideScale
from edgeapl.testing import FakeClock, FakeEngine
from edgeapl.types import Decision, Reason, Tally, Verdict
from tests.small_bundle import drawn_field, png, small_bundle

FIELDS = [
    ((60, 60), (150, 130)),
    ((50, 140), (140, 50)),
    ((100, 100),),
    ((60, 150), (150, 150), (100, 50)),
]
CELLS = sum(len(field) for field in FIELDS)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> BenchSlide:
    folder = tmp_path_factory.mktemp("slide")
    files = []
    for number, cells in enumerate(FIELDS):
        files.append(folder / f"{number}.png")
        files[-1].write_bytes(png(drawn_field(cells)))
    return BenchSlide("small", tuple(files), SlideScale(0.2, 0.2))


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Candidate]:
    folder = tmp_path_factory.mktemp("bundle") / "small"
    small_bundle(folder)
    with open_candidate(Setup(folder, engines="none", workers=2, batch_size=4)) as opened:
        yield opened


def verdict(
    decision: Decision = Decision.CLEAR, probability: float = 0.1, seen: int = 5
) -> Verdict:
    return Verdict(
        slide="small", decision=decision, probability=probability, interval=None,
        tally=Tally(seen, scored=seen), reasons=(Reason("why", "because"),), counts=(), evidence=(),
        frames=(("a.png", "0" * 64),), timings={}, bundle_digest="0" * 64, engine_digest="0" * 64,
        runtime="none",
    )  # fmt: skip


def measured_of(*passes: Pass, scenario: Scenario = Scenario.SINGLE_STREAM) -> Measured:
    return Measured(Plan(scenario, budget_s=3.0), list(passes))


def one_pass(*latencies: float, seconds: float = 1.0, **changes: Any) -> Pass:
    frames = tuple(FrameTimes(2, False, {"infer": taken / 2}) for taken in latencies)
    return replace(Pass("small", frames, latencies, seconds, verdict(), ()), **changes)


# Sources


def test_what_lies_inside_another_stage_is_not_taken_off_the_rest_twice() -> None:
    assert rest_of(2.0, {"gate": 0.5, "infer": 1.0, "crop": 0.4}) == pytest.approx(0.5)
    assert rest_of(1.0, {"gate": 0.5, "infer": 1.0}) == 0


def test_a_frame_comes_only_when_the_one_before_is_answered(slide: BenchSlide) -> None:
    with PacedSource(slide, 1) as source:
        assert source.read(0).index == 0
        with pytest.raises(SourceStalled):
            source.read(0)
        source.answered()
        assert source.read(0).index == 1


def test_frames_of_one_query_come_at_once_and_count_from_the_first(slide: BenchSlide) -> None:
    clock = FakeClock(5)
    with PacedSource(slide, 2, clock.monotonic_ns) as source:
        source.read(0)
        clock.move(1)
        source.read(0)
        with pytest.raises(SourceStalled):
            source.read(0)
        source.answered()
        with pytest.raises(SourceStalled):  # one of the two is still unanswered
            source.read(0)
        source.answered()
        clock.move(1)
        source.read(0)
        issued = [source.shots[index].issued_ns for index in range(3)]
    assert issued == [5, 5, 5 + 2_000_000_000]
    assert [source.shots[index].query for index in range(3)] == [0, 0, 1]


def test_a_folder_is_given_without_waiting_and_ends(slide: BenchSlide) -> None:
    with PacedSource(slide, None) as source:
        assert not source.live
        assert [source.read(0).index for _ in FIELDS] == [0, 1, 2, 3]
        with pytest.raises(EndOfSource):
            source.read(0)


def test_a_damaged_file_counts_as_answered(slide: BenchSlide, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(slide.files[0].read_bytes()[:200])
    with PacedSource(replace(slide, files=(bad, slide.files[1])), 1) as source:
        with pytest.raises(InputError):
            source.read(0)
        assert source.read(0).index == 1


def test_a_failed_network_does_not_leave_the_source_waiting(slide: BenchSlide) -> None:
    with PacedSource(slide, 1) as source:
        source.read(0)
        source.release()
        assert source.read(0).index == 1


def test_the_camera_gives_its_own_copy_with_the_time_of_capture(slide: BenchSlide) -> None:
    pictures = read_all(slide)
    clock = FakeClock(7)
    with BenchCamera("camera", pictures, clock.monotonic_ns) as camera:
        frame = camera.read(0)
        assert frame.captured_ns == 7
        assert not np.shares_memory(frame.pixels, pictures[0].pixels)
        assert np.array_equal(frame.pixels, pictures[0].pixels)
        for _ in FIELDS[1:]:
            camera.read(0)
        with pytest.raises(EndOfSource):
            camera.read(0)


# Material


def test_a_drawn_slide_lies_in_files_for_as_long_as_it_is_used() -> None:
    with open_workload("demo://apl?frames=2&width=320&height=240", 0.3) as workload:
        assert workload.frames == 2
        files = workload.slides[0].files
        frames = read_all(workload.slides[0])
        assert {frame.um_per_px for frame in frames} == {0.15}
    assert not any(file.exists() for file in files)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError), open_workload("demo://nobody", 0.2):
        pass
    with pytest.raises((InputError, UsageError)), open_workload(str(tmp_path), 0.2):
        pass


# Watching


def test_every_run_is_counted_and_only_wanted_inputs_are_kept() -> None:
    clock = FakeClock()

    def answer(inputs: Any) -> dict[str, Any]:
        clock.move(0.5)
        return {"y": inputs["x"].sum(axis=1)}

    ledger = WorkLog()
    engine = FakeEngine(answer, {"x": ("uint8", (None, 3))}, ("y",), fail_on=[2])
    watched = InstrumentedEngine("net", engine, ledger, clock.monotonic_ns)
    failed = threading.Event()
    ledger.on_error = failed.set
    rows = np.ones((4, 3), np.uint8)
    watched.run({"x": rows})
    ledger.keep = True
    watched.run({"x": rows[:1]})
    assert not failed.is_set()
    with pytest.raises(EngineError):
        watched.run({"x": rows})
    assert failed.is_set()
    work = ledger.work["net"]
    assert (work.runs, work.rows, work.bytes_in, work.seconds) == (2, 5, 15, 1.0)
    rows[:] = 9
    assert [kept["x"].tolist() for kept in ledger.kept["net"]] == [[[1, 1, 1]]]
    assert watched.runs == 3  # what else the engine offers
    with pytest.raises(AttributeError):
        _ = watched.nothing_of_the_kind


# Running


def test_a_frames_stages_are_what_the_slides_grew_by() -> None:
    assert grown({"gate": 1.0}, {"gate": 1.5, "crop": 0.25}) == {"gate": 0.5, "crop": 0.25}


@pytest.mark.parametrize(
    ("scenario", "streams", "queries"),
    [
        (Scenario.SINGLE_STREAM, 2, 4),
        (Scenario.MULTI_STREAM, 2, 2),
        (Scenario.MULTI_STREAM, 3, 1),  # the fourth frame makes no whole query
        (Scenario.OFFLINE, 2, 0),
    ],
)
def test_every_frame_and_cell_is_in_the_measurement(
    scenario: Scenario, streams: int, queries: int, slide: BenchSlide, candidate: Candidate,
    tmp_path: Path,
) -> None:  # fmt: skip
    plan = Plan(scenario, streams=streams)
    with open_runner(candidate, plan, tmp_path) as runner:
        done = runner.run(slide, None, Deadline())
    assert len(done.frames) == len(FIELDS)
    assert [frame.cells for frame in done.frames] == [len(cells) for cells in FIELDS]
    assert len(done.latencies) == queries
    assert done.verdict.tally.scored == CELLS
    for frame in done.frames:
        assert {"grab", "decode", "gate", "segment", "crop"} <= set(frame.stages)
        assert min(frame.stages.values()) >= 0
    commits = 1 if scenario is Scenario.OFFLINE else 1 + len(FIELDS)
    kinds = [row.kind for row in read_rows(tmp_path / "journal.sqlite3")]
    assert len([kind for kind in kinds if kind in ("verdict", "provisional")]) == commits


def test_the_stages_of_a_frame_add_up_to_its_time(
    slide: BenchSlide, candidate: Candidate, tmp_path: Path
) -> None:
    with open_runner(candidate, Plan(Scenario.SINGLE_STREAM), tmp_path) as runner:
        done = runner.run(slide, None, Deadline())
    for frame, taken in zip(done.frames, done.latencies, strict=True):
        apart = [seconds for stage, seconds in frame.stages.items() if stage != INSIDE]
        assert sum(apart) == pytest.approx(taken, rel=1e-6)


def test_as_many_frames_as_wanted_are_measured_and_warming_up_is_apart(
    slide: BenchSlide, candidate: Candidate, tmp_path: Path
) -> None:
    plan = Plan(Scenario.SINGLE_STREAM, frames=6, duration_s=3600, warmup=3)
    with open_runner(candidate, plan, tmp_path) as runner:
        (measured,) = measure([runner], Workload("small", (slide,)), plan)
    assert measured.frames == 6
    assert measured.work["cells"].rows == measured.cells
    assert measured.first_s is not None
    assert measured.memory is not None
    assert measured.memory.peak_bytes > 2**20


def test_the_time_ends_a_measurement_in_the_middle_of_a_slide(
    slide: BenchSlide, candidate: Candidate, tmp_path: Path
) -> None:
    clock = FakeClock()
    with open_runner(candidate, Plan(Scenario.SINGLE_STREAM), tmp_path) as runner:
        done = runner.run(slide, None, Deadline(TimeLimit(0, clock.monotonic_ns)))
    assert len(done.frames) == 1


def test_two_candidates_take_turns(slide: BenchSlide, candidate: Candidate, tmp_path: Path) -> None:
    order: list[str] = []

    class Spy:
        def __init__(self, name: str, runner: Any) -> None:
            self.name, self.runner, self.candidate = name, runner, runner.candidate

        def run(self, slide: BenchSlide, most: int | None, until: Deadline) -> Pass:
            order.append(self.name)
            return cast(Pass, self.runner.run(slide, most, until))

    plan = Plan(Scenario.OFFLINE, frames=4 * len(FIELDS), duration_s=3600, warmup=1)
    with open_runner(candidate, plan, tmp_path) as runner:
        spies = [Spy("A", runner), Spy("B", runner)]
        both = measure(spies, Workload("small", (slide,)), plan)
    assert "".join(order[2:]) == "ABBAABBA"
    versus = compare(*both)
    assert versus.ratio.pairs == 4
    assert versus.cells_alike
    assert not versus.differences


def test_an_error_makes_the_measurement_invalid(
    slide: BenchSlide, candidate: Candidate, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(slide.files[0].read_bytes()[:200])
    plan = Plan(Scenario.OFFLINE, frames=4, duration_s=3600, warmup=1)
    workload = Workload("small", (replace(slide, files=(*slide.files, bad)),))
    with open_runner(candidate, plan, tmp_path) as runner:
        (measured,) = measure([runner], workload, replace(plan, frames=5))
    assert any("bad.png" in reason for reason in measured.invalid)


def test_nothing_that_can_be_examined_is_an_error(
    slide: BenchSlide, candidate: Candidate, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    plan = Plan(Scenario.SINGLE_STREAM)
    with open_runner(candidate, plan, tmp_path) as runner, pytest.raises(UsageError):
        measure([runner], Workload("bad", (replace(slide, files=(bad,)),)), plan)


def test_engines_that_could_not_be_used_are_said(
    candidate: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(bundle: object, wanted: object, trust: object = None) -> ChosenEngines:
        return ChosenEngines(None, "its own", (EngineError("engines are for another device", "x"),))

    monkeypatch.setattr("edgeapl.model.resolution.choose_engines", choose)
    with open_candidate(candidate.setup) as opened:
        assert opened.refused == ("engines are for another device: x",)


@pytest.mark.slow
def test_without_onnx_the_floor_says_what_it_could_not_measure(
    slide: BenchSlide, candidate: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "edgeapl.bench.graph", None)
    monkeypatch.setattr("edgeapl.bench.peak.COPY_BYTES", 1 << 20)
    monkeypatch.setattr("edgeapl.bench.floor.BARE_S", 0.0)
    floor = measure_floor(candidate, Workload("small", (slide,)))
    assert floor["pipeline_over_bare"] > 0
    assert len(floor["rounds"]) == 5
    assert (floor["peak"]["by"], floor["peak"]["int8"]) == ("numpy", None)
    assert floor["bare_over_peak"] is None
    (network,) = floor["networks"]  # the head is asked per verdict, not per cell
    assert network["network"] == "cells"
    assert network["rows_per_round"] == CELLS
    assert network["flop_per_row"] is None
    assert "onnx is not installed" in network["why_not"]
    assert any("INT8 peak was not measured" in note for note in floor["notes"])
    assert not candidate.ledger.keep


# Glass to flag


def test_the_commit_that_first_holds_a_frame_is_the_one_that_counts(tmp_path: Path) -> None:
    clock = FakeClock()
    with Journal.open(tmp_path / "journal.sqlite3") as journal:
        timed = TimedJournal(journal, clock.monotonic_ns)
        timed.commit(verdict(Decision.CLEAR), provisional=True)
        clock.move(2)
        two = replace(verdict(Decision.FLAG), frames=(("a.png", "0" * 64), ("b.png", "1" * 64)))
        timed.commit(two)
        clock.move(2)
        timed.commit(two)
    assert {source: at for source, (at, _) in timed.first.items()} == {
        "a.png": 0,
        "b.png": 2_000_000_000,
    }
    assert timed.flag_ns == 2_000_000_000


# What is said about it


def test_p99_above_the_budget_misses_it() -> None:
    good, bad = one_pass(*[1.0] * 300), one_pass(*[1.0] * 290, *[4.0] * 10)
    assert measured_of(good).meets_budget is True
    assert measured_of(good).invalid == ()
    assert measured_of(bad).meets_budget is False
    assert measured_of(replace(good, latencies=()), scenario=Scenario.OFFLINE).meets_budget is None


def test_too_few_samples_and_rejected_frames_are_said() -> None:
    few = measured_of(one_pass(1.0, 2.0))
    assert few.invalid == (
        "p50 needs 5 samples, there are 2",
        "p90 needs 29 samples, there are 2",
        "p99 needs 299 samples, there are 2",
    )
    dark = one_pass(*[1.0] * 300)
    dark = replace(dark, frames=(replace(dark.frames[0], rejected=True), *dark.frames[1:]))
    assert measured_of(dark).invalid == ("1 of 300 frames were rejected by the gate",)
    assert "no frame was answered" in measured_of().invalid


def test_other_verdicts_are_said_and_the_ratio_is_a_over_b() -> None:
    a = measured_of(*[one_pass(1.0, seconds=2.0)] * 5)
    b_pass = one_pass(1.0, seconds=1.0, verdict=verdict(Decision.FLAG, 0.9, seen=4))
    versus = compare(a, measured_of(*[b_pass] * 5))
    assert versus.ratio.value == pytest.approx(2.0)
    assert versus.ratio.interval == pytest.approx((2.0, 2.0))
    assert [(one.slide, one.text) for one in versus.differences] == [("small", "CLEAR and FLAG")]
    assert versus.probability == pytest.approx(0.8)
    assert not versus.cells_alike


def test_the_document_names_the_times_in_milliseconds(
    slide: BenchSlide, candidate: Candidate, tmp_path: Path
) -> None:
    plan = Plan(Scenario.SINGLE_STREAM, frames=4, duration_s=3600, warmup=1)
    with open_runner(candidate, plan, tmp_path) as runner:
        (measured,) = measure([runner], Workload("small", (slide,)), plan)
    made = document(Workload("small", (slide,)), candidate, measured, Meters((), {"RAPL": "none"}))
    assert made["latency"] is not None
    latency = measured.latency
    assert latency is not None
    assert made["latency"]["p50_ms"] == pytest.approx(1e3 * latency.percentile(50), abs=1e-3)
    assert made["status"] == "INVALID"
    assert made["energy"]["absent"] == {"RAPL": "none"}
    assert made["work"]["cells"]["rows_per_run"] <= 4
    moved = made["bytes_per_frame"]
    assert (moved["pixels"], moved["labels"]) == (200 * 200 * 3, 200 * 200 * 2)
    given = {name: one["bytes_in_per_frame"] for name, one in made["work"].items()}
    assert given["cells"] == CELLS / len(FIELDS) * 32 * 32 * 3
    assert moved["to_networks"] == pytest.approx(sum(given.values()))
    assert made["research_use_only"] is True
    settings = {name: made["engines"][name] for name in ("threads", "workers", "batch_size")}
    assert settings == {"threads": 1, "workers": 2, "batch_size": 4}
