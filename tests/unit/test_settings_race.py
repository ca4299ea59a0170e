"""Settings are raced in turns: the usual ones stay unless a rival is surely faster."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from edgeapl.bench.bare_networks import Rate, Setting
from edgeapl.bench.comparison import Comparison
from edgeapl.bench.recorded_settings import note_of_networks, note_of_pair
from edgeapl.bench.statistics import Ratio
from edgeapl.calibration.builder import tuning
from edgeapl.calibration.builder.build import build_engine
from edgeapl.calibration.builder.paired_timing import Measured
from edgeapl.calibration.builder.request import BuildRequest
from edgeapl.calibration.builder.settings_race import (
    CONFIDENCE,
    race_settings,
    ratio_interval,
)
from edgeapl.calibration.builder.tuning import tune_engines
from edgeapl.cli.main import run
from edgeapl.engines.store.folder import EngineFolder, open_engines
from edgeapl.engines.store.record import Settings
from edgeapl.errors import EngineError
from tests.simulations.settings_noise import BUILDS, MACHINES, NoisyMachine, builds, settings_of
from tests.small_bundle import small_bundle


@pytest.mark.parametrize("name", MACHINES)
def test_the_right_settings_are_chosen_in_99_of_100_builds_on_a_noisy_machine(name: str) -> None:
    raced, _ = builds(MACHINES[name])
    assert BUILDS == 100
    assert raced >= 99


def test_settings_that_are_all_alike_leave_the_usual_ones() -> None:
    true = {settings_of((w, t, b)): 1.0 for w, t in ((2, 1), (1, 2)) for b in (1, 4, 16)}
    prior = settings_of((2, 1, 1))
    kept = [race_settings(prior, tuple(true), NoisyMachine(true, seed)) for seed in range(100)]
    assert sum(race.chosen == prior for race in kept) >= 99


def test_without_noise_it_ends_with_the_first_pairs_and_says_what_it_rests_on() -> None:
    true = {settings_of((2, 1, 1)): 1.0, settings_of((1, 2, 1)): 1.2, settings_of((2, 1, 4)): 0.8}
    machine = NoisyMachine(true, 1, noise=0.0, busy=0.001)
    race = race_settings(settings_of((2, 1, 1)), tuple(true), machine)
    assert race.chosen == settings_of((2, 1, 4))
    evidence = race.evidence
    assert evidence["usual"] == "2 workers x 1 threads, batch 1"
    assert evidence["chosen"] == "2 workers x 1 threads, batch 4"
    found = evidence["rivals"]["2 workers x 1 threads, batch 4"]
    assert found["pairs"] == len(found["ratios"]) == 12
    low, high = found["interval"]
    assert low <= found["ratio"] <= high < 1
    assert set(race.seconds) == {one.text for one in true}


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_pairs_have_no_interval(count: int) -> None:
    assert ratio_interval([0.5] * count) is None


@pytest.mark.parametrize("count", [8, 16, 24])
def test_the_interval_holds_the_true_ratio_as_often_as_it_says(count: int) -> None:
    random = np.random.default_rng(count)
    held = 0
    for _ in range(400):
        ratios = np.exp(0.2 + random.standard_t(3, count) / 20)
        interval = ratio_interval(ratios.tolist())
        assert interval is not None
        held += interval[0] <= np.exp(0.2) <= interval[1]
    assert held / 400 >= CONFIDENCE - 0.015


def test_one_round_that_was_held_up_does_not_widen_it_beyond_measure() -> None:
    calm = [0.9 + 0.001 * number for number in range(24)]
    interval = ratio_interval([*calm[:23], 50.0])
    assert interval is not None
    assert interval[1] < 1


# Tuned again


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> EngineFolder:
    folder = tmp_path_factory.mktemp("tuned")
    bundle = small_bundle(folder / "bundle")
    request = BuildRequest(bundle.folder, "fp32", "onnxruntime", folder / "engines")
    return build_engine(request, lambda text: None)


def test_a_build_records_the_race(built: EngineFolder) -> None:
    race = built.record.timing["settings_race"]
    assert race["chosen"] == built.record.settings.text
    assert race["rivals"]


def test_engines_are_tuned_without_building_and_their_files_stay(
    built: EngineFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Settings(workers=1, threads=7, batch_size=3)
    race = {
        "usual": "a", "chosen": other.text,
        "rivals": {"b": {"ratio": 0.5, "interval": [0.4, 0.6], "pairs": 12}},
    }  # fmt: skip
    monkeypatch.setattr(tuning, "best_settings", lambda *_: Measured(other, {"a": 1.0}, race))
    before = {path.name: path.read_bytes() for path in built.folder.glob("*.onnx")}
    bundle = built.folder.parent / "bundle"
    assert run(["engines", "tune", str(built.folder), "--bundle", str(bundle)]) == 0
    said = capsys.readouterr().out
    assert f"{other.text}, was {built.record.settings.text}" in said.replace("\n", " ")
    assert "b: 0.50 (0.40 to 0.60) of the time of a, 12 pairs" in said
    tuned = open_engines(built.folder)
    assert tuned.record.settings == other
    assert tuned.record.timing["settings_race"] == race
    assert tuned.record.networks == built.record.networks
    assert {path.name: path.read_bytes() for path in built.folder.glob("*.onnx")} == before


def test_engines_of_another_bundle_or_of_a_gpu_are_not_tuned(
    built: EngineFolder, tmp_path: Path
) -> None:
    other = small_bundle(tmp_path / "other", version="2.0")
    with pytest.raises(EngineError, match="engines are of another bundle"):
        tune_engines(built, BuildRequest(other.folder), lambda text: None)
    on_gpu = SimpleNamespace(
        folder=built.folder, record=built.record.model_copy(update={"target": "tensorrt"})
    )
    request = BuildRequest(built.folder.parent / "bundle")
    with pytest.raises(EngineError, match="engines on a GPU have no workers and threads"):
        tune_engines(cast(Any, on_gpu), request, lambda text: None)


# What a bench says of recorded settings


def candidate(workers: int, threads: int, batch: int, folder: str = "engines") -> Any:
    recorded = Settings(workers=2, threads=1, batch_size=4)
    return SimpleNamespace(
        engines=SimpleNamespace(folder=Path(folder), record=SimpleNamespace(settings=recorded)),
        model=SimpleNamespace(workers=workers, batch_size=batch),
        threads=threads,
        settings_text=Settings(workers=workers, threads=threads, batch_size=batch).text,
    )


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"2x1": 100.0, "1x2": 140.0}, "1x2 batch 4 takes 0.71 of the time"),
        ({"2x1": 100.0, "1x2": 102.0}, ""),
        ({"2x1": 100.0, "1x2": 60.0}, ""),
        ({"1x2": 140.0}, ""),
    ],
)
def test_bench_says_when_the_bare_networks_are_faster_otherwise(
    rates: dict[str, float], said: str
) -> None:
    tried = [Rate(Setting(int(way[0]), int(way[2]), 4), rate) for way, rate in rates.items()]
    note = " ".join(note_of_networks(candidate(2, 1, 4), [(100, tried), (50, tried)]))
    assert said in note
    assert bool(said) == bool(note)
    assert not note or "edgeapl engines tune engines" in note


@pytest.mark.parametrize(
    ("interval", "swapped", "folder", "said"),
    [
        ((1.1, 1.3), False, "engines", True),
        ((0.9, 1.3), False, "engines", False),
        ((0.6, 0.9), False, "engines", False),
        ((0.6, 0.9), True, "engines", True),
        ((1.1, 1.3), False, "others", False),
        (None, False, "engines", False),
    ],
)
def test_bench_says_when_the_same_engines_were_surely_faster_otherwise(
    interval: tuple[float, float] | None, swapped: bool, folder: str, said: bool
) -> None:
    pair = [candidate(2, 1, 4), candidate(1, 2, 4, folder)]
    versus = Comparison(Ratio(1.2 if not swapped else 0.75, interval, 9), (), True, None, ())
    one, other = reversed(pair) if swapped else pair
    note = note_of_pair(one, other, versus)
    assert bool(note) == said
    assert all("1 workers x 2 threads, batch 4 takes" in text for text in note)
