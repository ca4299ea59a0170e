"""Workers, threads and batch belong to the engines: measured, recorded, used."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console

from edgeapl.bench.bench import BenchRequest, run_bench
from edgeapl.bench.candidate import Setup, open_candidate
from edgeapl.bench.scenarios import Plan, Scenario
from edgeapl.bundle.load import Bundle
from edgeapl.calibration.builder import build, paired_timing, tactic_selection
from edgeapl.calibration.builder.build import BuildRequest, build_engine
from edgeapl.calibration.builder.paired_timing import (
    BATCHES,
    TimingRun,
    best_settings,
    choose,
    time_interleaved,
)
from edgeapl.calibration.validation.network_passes import SlidePass, networks_in_order
from edgeapl.cli.choices import opened_model
from edgeapl.config import StationConfig
from edgeapl.cores import cpu_cores
from edgeapl.engines import registry
from edgeapl.engines.exclusive import Opener
from edgeapl.engines.hosted.networks import GroupFiles
from edgeapl.engines.registry import BACKENDS, CUDA, Availability, open_engine
from edgeapl.engines.store.folder import EngineFolder, open_engines
from edgeapl.engines.store.record import RECORD, Settings, read_record
from edgeapl.errors import EngineError
from edgeapl.model import ModelRequest, open_model, opener, resolution
from edgeapl.model.engine_choice import ChosenEngines
from edgeapl.model.request import WantedEngines
from edgeapl.model.resolution import ResolvedModel, fastest_workers
from edgeapl.pipeline.producer import Producer
from edgeapl.protocols import Arrays, Engine
from edgeapl.station import hosted_model
from tests.small_bundle import SIZE, cell_network, small_bundle

CROPS = np.zeros((3, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("settings") / "bundle")


@pytest.fixture(scope="module")
def built(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> EngineFolder:
    out = tmp_path_factory.mktemp("engines") / "built"
    request = BuildRequest(bundle.folder, "fp32", "onnxruntime", out)
    return build_engine(request, lambda text: None)


class Meeting:
    """An engine whose runs last until as many are under way as are wanted."""

    def __init__(self, engine: Engine, wanted: int) -> None:
        self._engine = engine
        self._barrier = threading.Barrier(wanted)

    def run(self, inputs: Arrays) -> dict[str, Any]:
        self._barrier.wait(20)
        return self._engine.run(inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def meeting(wanted: int) -> Opener:
    return lambda name: Meeting(open_engine("onnxruntime", name, cell_network()), wanted)


def test_workers_call_one_engine_at_the_same_time(bundle: Bundle) -> None:
    runs = {"one": TimingRun("one", 4), "three": TimingRun("three", 4, workers=3)}
    openers = {"one": meeting(1), "three": meeting(3)}
    seconds = time_interleaved(bundle.manifest, openers, runs, CROPS, rounds=1)
    assert set(seconds) == set(runs)


def test_slow_rounds_do_not_decide_the_settings(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three rounds of the faster workers are held up by another program, however long."""
    clock = itertools.count()

    def taken(pool: object, calls: Sequence[object], network: str) -> float:
        if len(calls) == 1:
            return 1.0
        return 1.0 if next(clock) % 3 == 0 else 1000.0

    monkeypatch.setattr(paired_timing, "_together", taken)
    monkeypatch.setattr(paired_timing, "BATCHES", (1,))
    monkeypatch.setattr(SlidePass, "answers", lambda slide: None)
    measured = best_settings(bundle.manifest, lambda settings: meeting(1), CROPS, 2)
    assert measured.settings.workers == 2


def test_the_time_of_workers_is_shared_among_them(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        paired_timing, "_together", lambda pool, calls, network: 600.0 * bool(calls)
    )
    monkeypatch.setattr(SlidePass, "answers", lambda slide: None)
    runs = {"one": TimingRun("one", 4), "three": TimingRun("three", 4, workers=3)}
    openers = {"one": meeting(1), "three": meeting(3)}
    seconds = time_interleaved(bundle.manifest, openers, runs, CROPS, rounds=1)
    networks = len(networks_in_order(bundle.manifest))
    assert round(seconds["one"]) == 600 * networks
    assert round(seconds["three"]) == 200 * networks


@pytest.mark.parametrize(
    ("cores", "ways"),
    [
        (1, [(1, 1)]),
        (2, [(2, 1), (1, 2)]),
        (4, [(4, 1), (2, 2), (1, 4)]),
        (6, [(6, 1), (3, 2), (1, 4), (1, 6)]),
    ],
)
def test_workers_times_threads_fill_the_cores_and_never_more(
    bundle: Bundle, cores: int, ways: list[tuple[int, int]]
) -> None:
    asked: list[Settings] = []

    def open_with(settings: Settings) -> Opener:
        asked.append(settings)
        return meeting(1)

    measured = best_settings(bundle.manifest, open_with, CROPS, cores)
    assert list(dict.fromkeys((one.workers, one.threads) for one in asked)) == ways
    assert len(measured.seconds) == len(ways) * len(BATCHES)


def settings(workers: int, threads: int, batch: int) -> Settings:
    return Settings(workers=workers, threads=threads, batch_size=batch)


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({(2, 1, 1): 1.0, (1, 2, 1): 0.9, (2, 1, 16): 1.1}, (1, 2, 1)),
        # As good as equal: the smaller batch, then the workers.
        ({(2, 1, 16): 1.0, (2, 1, 4): 1.02, (2, 1, 1): 1.1}, (2, 1, 4)),
        ({(1, 2, 1): 1.0, (2, 1, 1): 1.02}, (2, 1, 1)),
        ({(1, 8, 32): 1.0, (8, 1, 1): 3.0}, (1, 8, 32)),
    ],
)
def test_the_fastest_is_chosen_and_of_equals_the_quickest_to_answer(
    seconds: Mapping[tuple[int, int, int], float], chosen: tuple[int, int, int]
) -> None:
    assert choose({settings(*way): taken for way, taken in seconds.items()}) == settings(*chosen)


def test_the_record_holds_them_and_old_records_are_read(built: EngineFolder) -> None:
    found = open_engines(built.folder).record
    workers = found.settings.workers
    assert workers is not None
    assert 1 <= workers * found.settings.threads <= cpu_cores()
    assert found.settings.text == found.timing["settings"]["fp32 onnxruntime"]
    document = json.loads(found.text())
    del document["settings"]["workers"]
    old = read_record(json.dumps(document).encode(), RECORD, "build it again").settings
    assert old.workers is None
    assert (old.threads, old.batch_size) == (found.settings.threads, found.settings.batch_size)


def with_settings(built: EngineFolder, **changes: Any) -> EngineFolder:
    record = built.record.model_copy(update=changes)
    return EngineFolder(built.folder, record)


@pytest.mark.parametrize(
    ("target", "recorded", "cores", "wanted"),
    [
        ("onnxruntime", settings(3, 1, 1), 4, 3),
        ("onnxruntime", Settings(threads=2, batch_size=1), 8, 4),
        ("onnxruntime", Settings(threads=2, batch_size=1), 1, 1),
        # Bound to fewer cores than it was measured on.
        ("onnxruntime", settings(8, 1, 1), 2, 2),
        ("tensorrt", settings(4, 1, 16), 2, 4),
    ],
)
def test_workers_are_those_measured_within_the_cores_there_are(
    built: EngineFolder,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    recorded: Settings,
    cores: int,
    wanted: int,
) -> None:
    monkeypatch.setattr(resolution, "cpu_cores", lambda: cores)
    engines = with_settings(built, settings=recorded, target=target)
    assert fastest_workers(engines, recorded.threads) == wanted


def test_networks_of_a_bundle_get_as_many_workers_as_there_are_cores_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolution, "cpu_cores", lambda: 6)
    assert [fastest_workers(None, threads) for threads in (1, 2, 6, 8)] == [6, 3, 1, 1]


@pytest.mark.parametrize("pin_cores", [False, True])
@pytest.mark.parametrize("from_bundle", [False, True])
def test_every_engine_is_told_its_workers_and_whether_they_keep_to_cores(
    bundle: Bundle,
    built: EngineFolder,
    from_bundle: bool,
    pin_cores: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[int, bool]] = []

    def noted(*given: Any, workers: int, pin_cores: bool, **more: Any) -> Engine:
        told.append((workers, pin_cores))
        return registry.open_engine(*given, workers=workers, pin_cores=pin_cores, **more)

    monkeypatch.setattr(opener, "open_engine", noted)
    engines: WantedEngines = "none" if from_bundle else built
    with open_model(
        ModelRequest(bundle.folder, engines=engines, workers=3, pin_cores=pin_cores)
    ) as model:
        assert model.workers == 3
    assert told == [(3, pin_cores)] * len(bundle.manifest.networks)


@pytest.mark.parametrize("scenario", Scenario)
def test_the_bench_keeps_threads_to_cores_only_where_score_does(
    scenario: Scenario, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    def refuse(*_: object, pin_cores: bool, **more: object) -> None:
        told.append(pin_cores)
        raise EngineError("told to by the test")

    monkeypatch.setattr("edgeapl.bench.bench.open_candidate", refuse)
    with pytest.raises(EngineError):
        run_bench(BenchRequest(Plan(scenario), (Setup(bundle.folder),), None))
    assert told == [scenario is Scenario.OFFLINE]


def test_score_keeps_threads_to_cores(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []

    def refuse(resolved: ResolvedModel) -> None:
        told.append(resolved.request.pin_cores)
        raise EngineError("told to by the test")

    monkeypatch.setattr("edgeapl.model.opener.open_resolved", refuse)
    with (
        pytest.raises(EngineError),
        opened_model(bundle.folder, StationConfig(), "none", Console()),
    ):
        pass
    assert told == [True]


def test_only_networks_that_judge_cells_run_side_by_side_at_the_station(
    bundle: Bundle, built: EngineFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: dict[str, int] = {}

    class Host:
        opened_in_s = 0.0

        def __init__(self, group: GroupFiles) -> None:
            opened.update({network.name: network.workers for network in group.networks})
            self.engines = {network.name: network.open() for network in group.networks}
            self.service, self.chain, self.most_s = self, None, group.most_s

        @classmethod
        def open_together(cls, groups: Sequence[GroupFiles]) -> Mapping[str, Host]:
            return {group.name: cls(group) for group in groups}

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *given: object) -> None:
            pass

    monkeypatch.setattr(hosted_model, "EngineHost", Host)
    hosted_model.open_hosted(ModelRequest(bundle.folder, engines=built, workers=2))
    assert opened.pop("head") == 1
    assert set(opened.values()) == {2}


@pytest.mark.parametrize(("workers", "inside"), [(1, 3), (2, 1)])
def test_opencv_leaves_the_cores_to_several_workers(
    bundle: Bundle, workers: int, inside: int
) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        with open_model(ModelRequest(bundle.folder, workers=workers)) as model:
            with Producer(model, [], threading.Event()):
                assert cv2.getNumThreads() == inside
            assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_bench_uses_the_workers_of_the_engines_unless_told(
    bundle: Bundle, built: EngineFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolution, "cpu_cores", lambda: 8)
    monkeypatch.setattr(
        "edgeapl.model.resolution.choose_engines",
        lambda *given: ChosenEngines(with_settings(built, settings=settings(5, 1, 4)), "own"),
    )
    for named, wanted in ((None, 5), (2, 2)):
        with open_candidate(Setup(bundle.folder, workers=named)) as opened:
            assert opened.model.workers == wanted


@pytest.mark.slow
def test_the_fastest_target_wins_and_all_others_say_why_not(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        build,
        "available_targets",
        lambda: tuple(
            Availability(target, "", "" if target != CUDA else "no GPU here") for target in BACKENDS
        ),
    )
    monkeypatch.setattr("edgeapl.calibration.builder.sidecar.runtime_version", lambda target: "1")

    def opened(target: str, name: str, model: bytes, **more: Any) -> Engine:
        if target == "openvino":
            raise EngineError("network was refused by openvino", name, "too new")
        return registry.open_engine(target, name, model, **more)

    for module in ("files", "candidates"):
        monkeypatch.setattr(f"edgeapl.calibration.builder.{module}.open_engine", opened)
    request = BuildRequest(bundle.folder, "fp32", "auto", tmp_path / "engines")
    found = build_engine(request, lambda text: None).record.timing
    assert set(found["seconds_for_16_cells"]) == {"bundle", "fp32 onnxruntime"}
    why = found["not_picked"]["fp32 openvino"]
    assert why.startswith("cannot be run: ")
    assert "too new" in why


def test_a_slower_candidate_says_by_how_much(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"bundle": 3.0, "fp32 onnxruntime": 1.5, "fp32 openvino": 1.0}
    monkeypatch.setattr(tactic_selection, "time_interleaved", lambda *given: seconds)
    monkeypatch.setattr(
        tactic_selection, "_settings", lambda *given: paired_timing.Measured(settings(1, 1, 1), {})
    )

    class One:
        networks: Mapping[str, Any] = {}
        plans = None

        def __init__(self, target: str) -> None:
            self.name, self.target = f"fp32 {target}", target

    candidates: Any = [One("onnxruntime"), One("openvino")]
    result = tactic_selection.select_fastest(bundle, candidates, CROPS, lambda text: None)
    assert result.best is candidates[1]
    slower = {"fp32 onnxruntime": "takes 1.50 times as long as fp32 openvino"}
    assert result.not_picked({}) == slower
    # Random weights run whatever their proof found: that was not the reason, nor is the best left.
    problems = {"fp32 openvino": ("a",), "fp32 onnxruntime": ("b",), "int8 openvino": ("c", "d")}
    assert result.not_picked(problems) == {**slower, "int8 openvino": "c; d"}


def test_a_runtime_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        build,
        "available_targets",
        lambda: (
            Availability("openvino", "not here", "not here"),
            Availability("onnxruntime", "", ""),
            Availability("onnxruntime-cuda", "", ""),
        ),
    )
    assert build._absent() == {"openvino": "not here"}


@pytest.mark.slow
def test_when_none_can_be_run_the_last_says_why(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*given: Any, **more: Any) -> Engine:
        raise EngineError("network was refused", "cells", "too new")

    monkeypatch.setattr("edgeapl.calibration.builder.files.open_engine", opened)
    request = BuildRequest(bundle.folder, "fp32", "onnxruntime", tmp_path / "engines")
    with pytest.raises(EngineError, match="too new"):
        build_engine(request, lambda text: None)
    assert not list(tmp_path.iterdir())
