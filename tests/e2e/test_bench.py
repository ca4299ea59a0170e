"""`edgeapl bench` as a user runs it. No test here asks for a time: machines differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeapl.bench import scenarios
from edgeapl.cli.bench_tables import print_tables
from edgeapl.cli.main import run
from tests.e2e.station import Station
from tests.small_bundle import cell_network, drawn_field, png, small_bundle

pytestmark = pytest.mark.slow

NEVER = np.full(3, -40, np.float32)
"""Bias with which no cell is of any kind; its opposite makes every cell of all kinds."""

FIELDS = [((60, 60), (150, 130)), ((50, 140), (140, 50)), ((100, 100), (40, 40))]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number, cells in enumerate(FIELDS):
        (folder / f"{number}.png").write_bytes(png(drawn_field(cells)))
    return folder


def short(bundle: Path, images: Path, *more: str | Path) -> list[str | Path]:
    few = ("--images", images, "--frames", "6", "--warmup", "1", "--engines", "none")
    return ["bench", bundle, *few, *more]


@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream", "offline", "glass-to-flag"])
def test_every_scenario_gives_one_document(
    station: Station, bundle: Path, images: Path, scenario: str
) -> None:
    streams = ("--streams", "3") if scenario == "multi-stream" else ()
    more = ("--scenario", scenario, *streams, "--json")
    done = station.run(*short(bundle, images, *more))
    assert done.code == 0, done.err
    document = done.document
    assert document["scenario"] == scenario
    assert document["throughput"]["frames"] == 6
    assert document["work"]["cells"]["bytes_in_per_frame"] > 0
    assert document["cold_start"]["first_frame_ms"] > 0
    assert document["machine"]["others_cores"] is None or document["machine"]["others_cores"] >= 0
    assert {"grab", "gate", "segment", "crop", "infer", "reduce"} <= set(document["stages"])
    assert ("decode" in document["stages"]) == (scenario != "glass-to-flag")
    samples = {"single-stream": 6, "multi-stream": 2, "glass-to-flag": 6}.get(scenario)
    assert (document["latency"] or {}).get("samples") == samples
    assert document["budget"]["met"] is (None if scenario == "offline" else True)
    assert document["status"] == ("VALID" if scenario == "offline" else "INVALID")
    assert list(document["answers"]) == [images.name]


@pytest.mark.slow
def test_the_floor_says_how_near_pipeline_and_networks_are(
    station: Station, bundle: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = station.folder / "bench.html"
    done = station.run(*short(bundle, images, "--floor", "--json", "--page", page))
    assert done.code == 0, done.err
    floor = done.document["floor"]
    assert 0 < floor["pipeline_over_bare"] < 2
    assert 0 < floor["bare_over_peak"] < 2
    assert floor["networks_share_of_cpu"] is None or 0 < floor["networks_share_of_cpu"] < 2
    (network,) = floor["networks"]
    assert network["network"] == "cells"
    assert network["flop_per_row"] == 2 * 3 * 3
    assert floor["peak"]["int8"] > 0
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    for outside in ("http:", "https:", "<script", "@import", "url("):
        assert outside not in text
    assert "Research use only" in text
    print_tables(done.document)
    assert "pipeline over bare networks" in capsys.readouterr().out


def test_beside_busy_programs_the_slow_down_is_said(
    station: Station, bundle: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = station.folder / "bench.html"
    done = station.run(*short(bundle, images, "--busy", "1", "--json", "--page", page))
    assert done.code == 0, done.err
    busy = done.document["busy"]
    assert (busy["programs"], len(busy["rounds"])) == (1, 5)
    low, high = busy["slow_down_interval"]
    assert 0 < low <= busy["slow_down"] <= high
    assert "Programs that each keep a core busy: 1. Beside them" in page.read_text(encoding="utf-8")
    print_tables(done.document)
    assert "busy programs beside it: 1; it takes" in capsys.readouterr().out


def test_the_first_answer_and_the_first_flag_of_the_station_are_timed(
    station: Station, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keen = tmp_path / "keen"
    small_bundle(keen, cells=cell_network(bias=-NEVER))
    page = station.folder / "bench.html"
    glass = ("--scenario", "glass-to-flag", "--json", "--page", page)
    document = station.run(*short(keen, images, *glass)).document
    flag, answer = document["first_flag"], document["first_answer"]
    assert flag["samples"] == answer["samples"] == len(document["flag_ms"]) > 0
    # Shown once what must be is committed; both wait for the first cells.
    assert 0 < flag["p50_ms"] <= max(document["flag_ms"])
    assert answer["p50_ms"] > 0
    assert "<td>first flag</td>" in page.read_text(encoding="utf-8")
    print_tables(document)
    assert "first flag" in capsys.readouterr().out


def test_without_a_flag_there_is_no_first_one(station: Station, images: Path, bundle: Path) -> None:
    document = station.run(*short(bundle, images, "--json")).document
    assert document["first_flag"] is None
    assert document["first_answer"] is None


def test_two_bundles_take_turns_and_another_answer_is_said(
    station: Station, bundle: Path, images: Path, tmp_path: Path
) -> None:
    blind = tmp_path / "blind"
    small_bundle(blind, cells=cell_network(bias=NEVER))
    keen = tmp_path / "keen"
    small_bundle(keen, cells=cell_network(bias=-NEVER))
    page = station.folder / "bench.html"
    done = station.run(*short(blind, images), keen, "--frames", "15", "--json", "--page", page)
    assert done.code == 0, done.err
    versus = done.document["versus"]
    assert versus["ratio"]["pairs"] == 5
    assert versus["status"] == "VALID"
    low, high = versus["ratio"]["interval"]
    assert low <= versus["ratio"]["value"] <= high
    assert versus["same_verdicts"] is False
    assert versus["same_cells"] is True
    assert [one["text"] for one in versus["differences"]] == ["REVIEW and FLAG"]
    assert "NOT the same" in page.read_text(encoding="utf-8")


def test_a_setting_alone_makes_a_second_candidate(
    station: Station, bundle: Path, images: Path
) -> None:
    done = station.run(*short(bundle, images, "--batch-size2", "1", "--json"))
    assert done.code == 0, done.err
    versus = done.document["versus"]
    assert versus["b"]["engines"]["batch_size"] == 1
    assert versus["status"] == "INVALID"  # too few pairs for an interval
    assert versus["ratio"]["interval"] is None
    assert versus["same_verdicts"] is True
    assert versus["largest_difference_of_probability"] == pytest.approx(0, abs=1e-6)


def test_tables_say_what_does_not_hold(station: Station, bundle: Path, images: Path) -> None:
    page = station.folder / "bench.html"
    done = station.run(*short(bundle, images, "--batch-size2", "2", "--page", page))
    assert done.code == 0, done.err
    assert "on too few samples to be sure" in page.read_text(encoding="utf-8")
    for text in (
        "INVALID: p99 needs 299 samples, there are 6",
        "on too few samples to be sure",
        "energy: ",
        "verdicts the same",
        "Research use only. Not for diagnosis.",
    ):
        assert text in done.out


def test_without_arguments_the_drawn_slide_is_timed_with_the_embedded_bundle(
    station: Station,
) -> None:
    done = station.run("bench", "--frames", "2", "--warmup", "1", "--json")
    assert done.code == 0, done.err
    assert done.document["bundle"]["name"] == "apl-demo"
    assert done.document["images"] == {"source": "demo://apl?seed=1", "frames": 8}
    assert not (station.folder / "state").exists()  # the user's own journal is left alone


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("--images", "nowhere"), 3, "nowhere"),
        (("--images", "demo://nobody"), 2, "unknown demonstration"),
        (("--scenario", "server"), 2, "usage"),
        (("--page", "no/such/folder/page.html"), 5, "page cannot be written"),
    ],
)
def test_what_cannot_be_timed_is_one_line(
    station: Station, bundle: Path, images: Path, arguments: tuple[str, ...], code: int, error: str
) -> None:
    done = station.run(*short(bundle, images), *arguments)
    assert done.code == code, done.err
    (line,) = done.error_lines
    assert error in line


def test_a_budget_that_is_missed_is_exit_code_seven(
    bundle: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scenarios.Measured, "meets_budget", False)
    code = run([str(part) for part in short(bundle, images, "--json")])
    assert code == 7
    assert json.loads(capsys.readouterr().out)["budget"]["met"] is False
