"""`edgeapl bench` honours every option or refuses it, and ends when it said."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from edgeapl.bench import bare_networks, floor
from edgeapl.bench.bare_networks import CompletedRun, Setting, best_setting
from edgeapl.bench.candidate import Candidate, Setup, open_candidate
from edgeapl.bench.contention import measure_busy
from edgeapl.bench.instrumented_engine import WorkLog
from edgeapl.bench.runner import Deadline, FrameTimes, Pass, Runner
from edgeapl.bench.scenarios import Plan, Scenario, measure
from edgeapl.bench.time_limit import FrameCount, Shares, TimeLimit
from edgeapl.bench.workload import BenchSlide, Workload
from edgeapl.bundle.load import Bundle
from edgeapl.cli.main import run
from edgeapl.cores import cpu_cores
from edgeapl.engines.store.record import Settings
from edgeapl.errors import UsageError
from edgeapl.model.engine_choice import ChosenEngines
from edgeapl.model.request import ModelRequest
from edgeapl.model.resolution import resolve
from edgeapl.pixel_size import SlideScale
from edgeapl.testing import FakeClock, FakeEngine
from edgeapl.types import Decision, Reason, Tally, Verdict
from tests.small_bundle import drawn_field, png, small_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small")


@pytest.fixture
def bench(
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Any:
    """Run it on one small frame; gives exit code, document and what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png(drawn_field()))

    def start(*arguments: str) -> tuple[int, dict[str, Any], str]:
        few = ("--images", "images", "--frames", "2", "--warmup", "1", "--json")
        code = run(["bench", str(bundle.folder), *few, *arguments])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else {}, said.err

    return start


def engines_of(bundle: Bundle, target: str) -> ChosenEngines:
    """Engines in onnxruntime or elsewhere that were the fastest with one thread."""
    record = SimpleNamespace(
        target=target,
        precision="fp32",
        cutter=None,
        networks={name: SimpleNamespace(precision="fp32") for name in bundle.manifest.networks},
        settings=Settings(threads=1, batch_size=4, workers=2),
        built_for=SimpleNamespace(number=0),
        proven_where_it_runs=True,
        inherits=lambda certificate: True,
    )
    folder = SimpleNamespace(
        record=record,
        folder=bundle.folder,
        digest="1" * 64,
        signer=None,
        read=lambda name: bundle.read(bundle.manifest.networks[name].file),
        origin=lambda name: None,
    )
    return ChosenEngines(cast(Any, folder), f"engines in {target}")


def test_threads_are_those_of_engines_too(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, int]] = []

    def open_engine(target: str, name: str, data: bytes, *, threads: int, **_: Any) -> Any:
        opened.append((name, threads))
        return real("onnxruntime", name, data, threads=threads)

    from edgeapl.engines.registry import open_engine as real  # noqa: PLC0415

    chosen = engines_of(bundle, "onnxruntime")
    monkeypatch.setattr("edgeapl.model.resolution.choose_engines", lambda *_: chosen)
    monkeypatch.setattr("edgeapl.model.opener.open_engine", open_engine)
    with open_candidate(Setup(bundle.folder, engine_threads=3)) as candidate:
        assert candidate.threads == 3
    assert set(opened) == {("cells", 3), ("head", 3)}
    with open_candidate(Setup(bundle.folder)) as candidate:
        assert candidate.threads == 1


def test_a_gpu_has_no_threads_and_says_so(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = engines_of(bundle, "tensorrt")
    monkeypatch.setattr("edgeapl.model.resolution.choose_engines", lambda *_: chosen)
    with pytest.raises(UsageError, match="engines on a GPU have no threads: --threads 2"):
        resolve(ModelRequest(bundle.folder, engine_threads=2))
    assert resolve(ModelRequest(bundle.folder, threads=2)).threads == 1


@pytest.mark.parametrize(
    ("arguments", "a", "b"),
    [
        (("--workers", "7", "--workers2", "1"), (1, 7), (1, 1)),
        (("--workers", "7", "--batch-size2", "2"), (1, 7), (1, None)),
        (("--threads", "2", "--workers", "3", "--workers2", "1"), (2, 3), (1, 1)),
        (("--threads2", "2"), (1, None), (2, None)),
        (("--batch-size", "5", "--workers2", "1"), (1, None), (1, 1)),
    ],
)
def test_a_setting_without_a_two_is_of_the_first_alone(
    arguments: tuple[str, ...], a: tuple[int, int | None], b: tuple[int, int | None], bench: Any
) -> None:
    code, document, said = bench(*arguments)
    assert code == 0, said
    for wanted, engines in ((a, document["engines"]), (b, document["versus"]["b"]["engines"])):
        threads, workers = wanted
        assert engines["threads"] == threads
        assert engines["workers"] == (workers or max(1, cpu_cores() // threads))
    sizes = document["engines"]["batch_size"], document["versus"]["b"]["engines"]["batch_size"]
    asked = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert sizes == (int(asked.get("--batch-size", 8)), int(asked.get("--batch-size2", 8)))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--streams", "4"), 2, "option has no use in single-stream: --streams"),
        (("--exhaustive",), 2, "option has no use in single-stream: --exhaustive"),
        (
            ("--scenario", "offline", "--budget", "9"),
            2,
            "option has no use in offline: --budget",
        ),
        (("--page", "no/such/page.html"), 5, "page cannot be written"),
        (("--page", "images"), 5, "page cannot be written"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused_before_anything_is_timed(
    arguments: tuple[str, ...], code: int, said: str, bench: Any
) -> None:
    done, _, err = bench(*arguments)
    assert (done, err.count("\n")) == (code, 1)
    assert said in err


def test_a_batch_that_a_network_cannot_take_is_refused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "edgeapl.bench.candidate.open_resolved",
        lambda resolved: replace(real(resolved), engines={"cells": cast(Any, _Fixed())}),
    )
    from edgeapl.model.opener import open_resolved as real  # noqa: PLC0415

    with (
        pytest.raises(UsageError, match="network takes batches of one size: cells: 1"),
        open_candidate(Setup(bundle.folder, engines="none", batch_size=4)),
    ):
        pass


class _Fixed:
    def __init__(self) -> None:
        self.inputs = {"cells": ("uint8", (1, 32, 32, 3))}

    def close(self) -> None:
        """Nothing is open."""


# An end in bounded time


def test_it_says_before_how_long_it_takes_and_how_it_runs(bench: Any) -> None:
    code, _, said = bench("--seconds", "3", "--workers", "2")
    assert code == 0
    assert "takes at most about 3 s, and a step longer: frames 3 s" in said
    assert "2 workers x 1 threads, batch 8" in said


@pytest.mark.parametrize(
    ("floor_too", "busy", "most_s", "total"),
    [
        (False, False, None, 90.0),
        (True, True, None, 390.0),
        (True, False, 27.0, 27.0),
        (False, False, 1000.0, 90.0),
    ],
)
def test_the_shares_are_all_of_the_time(
    floor_too: bool, busy: bool, most_s: float | None, total: float
) -> None:
    shares = Shares.of(60.0, 1, floor=floor_too, busy=busy, most_s=most_s)
    assert shares.total == pytest.approx(total)
    assert (shares.floor > 0, shares.busy > 0) == (floor_too, busy)


def test_progress_is_said_every_few_seconds() -> None:
    clock, said = FakeClock(), cast("list[str]", [])
    count = FrameCount(said.append, 40, clock.monotonic_ns)
    for _ in range(11):
        count.add()
        clock.move(1)
    assert said == ["6 frames of at most 40", "11 frames of at most 40"]


@dataclass
class _SlowRunner:
    """A frame takes `frame_s` of a clock that does not wait."""

    clock: FakeClock
    frame_s: float
    candidate: Candidate
    ran: int = 0

    def run(self, slide: BenchSlide, most: int | None, until: Deadline) -> Pass:
        verdict = Verdict(
            slide=slide.name, decision=Decision.REVIEW, probability=0.1, interval=None,
            tally=Tally(1, scored=1), reasons=(Reason("why", "because"),), counts=(), evidence=(),
            frames=(), timings={}, bundle_digest="0" * 64, engine_digest="0" * 64, runtime="none",
        )  # fmt: skip
        done = 0
        for _ in range(min(len(slide.files), most or len(slide.files))):
            self.clock.move(self.frame_s)
            done += 1
            if until.over():
                break
        self.ran += done
        frames = (FrameTimes(1, False, {}),) * done
        return Pass(slide.name, frames, (self.frame_s,) * done, self.frame_s * done, verdict, ())


@pytest.mark.parametrize("runners", [1, 2])
def test_a_slide_of_many_slow_frames_ends_when_it_was_said(runners: int) -> None:
    """Two bundles finished every slide that they had begun, however long it was."""
    clock = FakeClock()
    candidate = cast(Candidate, SimpleNamespace(ledger=WorkLog()))
    slow = [_SlowRunner(clock, 5.0, candidate) for _ in range(runners)]
    slide = BenchSlide("long", (Path("frame.png"),) * 169, SlideScale(0.2, 0.2))
    plan = Plan(Scenario.OFFLINE, duration_s=60.0, warmup=100)
    all_measured = measure(
        cast("list[Runner]", slow), Workload("long", (slide,)), plan, now=clock.monotonic_ns
    )
    shares = Shares.of(60.0, runners, floor=False, busy=False, most_s=None)
    assert clock.monotonic_ns() / 1e9 <= shares.total + 2 * 5.0 * runners
    assert len({one.frames for one in all_measured}) == 1
    assert all_measured[0].frames >= 10


def test_settings_of_bare_networks_are_tried_as_long_as_there_is_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock()

    def run_rows(engine: object, rows: object, setting: Setting, seconds: float) -> CompletedRun:
        clock.move(10.0)
        return CompletedRun(10 * setting.batch, 10.0, 10.0)

    monkeypatch.setattr(bare_networks, "run_rows", run_rows)
    settings = [Setting(1, 1, batch) for batch in (1, 2, 3, 4, 5)]
    limit = TimeLimit.of(25.0, clock.monotonic_ns)
    rows = {"x": np.zeros((8, 3), np.uint8)}
    engine = FakeEngine(lambda arrays: arrays, {}, ())
    best, tried = best_setting(lambda *_: engine, rows, settings, limit=limit)
    assert [one.setting.batch for one in tried] == [1, 2, 3]
    assert best.setting.batch == 3


def test_floor_and_busy_programs_stop_at_their_limit_and_say_so(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floor, "_graph", lambda: None)
    monkeypatch.setattr("edgeapl.bench.peak.COPY_BYTES", 1 << 20)
    path = tmp_path / "a.png"
    path.write_bytes(png(drawn_field()))
    workload = Workload("one", (BenchSlide("one", (path,), SlideScale(0.2, 0.2)),))
    said: list[str] = []
    with open_candidate(Setup(bundle.folder, engines="none", workers=1)) as candidate:
        short = floor.measure_floor(candidate, workload, TimeLimit(0), said.append)
        busy = measure_busy(candidate, workload, 1, TimeLimit(0), said.append)
    assert len(short["rounds"]) == len(busy["rounds"]) == 1
    assert short["pipeline_over_bare_interval"] is None
    assert any(note.startswith("time for 1 of 5 rounds only") for note in short["notes"])
    assert any(note.startswith("no time for ") for note in short["notes"])
    assert any(text.startswith("floor: how to ask cells the fastest") for text in said)
    assert "busy programs: round 1 of 5" in said
