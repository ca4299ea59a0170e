"""Two bundles on the same slides: what changes is told, and no station's journal sees it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from edgeapl.cli.main import run
from edgeapl.comparison import ComparisonRequest, compare_bundles
from edgeapl.comparison.agreement import cell_concordance, changed_verdicts, verdict_concordance
from edgeapl.comparison.compare import certificate_text
from edgeapl.evaluation.labels import SlideLabel
from edgeapl.evaluation.results import SlideResult
from edgeapl.journal import read_rows
from edgeapl.model import Model, open_model
from tests.scored_parts import NAMES, draw_slides
from tests.small_bundle import cell_network, small_bundle

NEVER = np.full(3, -40, np.float32)
"""Bias with which no cell is of any kind; its opposite makes every cell of all kinds."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("comparison")
    small_bundle(made / "keen", cells=cell_network(bias=-NEVER))
    small_bundle(made / "blind", cells=cell_network(bias=NEVER), version="2.0")
    draw_slides(made / "slides")
    return made


@pytest.fixture(scope="module")
def models(folder: Path) -> Iterator[tuple[Model, Model]]:
    with open_model(folder / "keen") as keen, open_model(folder / "blind") as blind:
        yield keen, blind


def test_a_new_bundle_that_loses_flags_is_told_with_every_figure(
    models: tuple[Model, Model], folder: Path, tmp_path: Path
) -> None:
    labels = {name: SlideLabel("APL" if name == "a" else "other", name) for name in NAMES}
    request = ComparisonRequest(folder / "slides", tmp_path / "out", um_per_px=0.2, labels=labels)
    found = compare_bundles(*models, request)
    assert [(one["from"], one["to"]) for one in found["changed"]] == [("FLAG", "REVIEW")] * 4
    assert found["lost_flags"] == list(NAMES)
    assert found["verdicts"]["FLAG"]["same"]["k"] == 0
    assert found["verdicts"]["FLAG"]["to"] == {"REVIEW": 4}
    cells = found["cells"]
    assert (cells["cells"], cells["only_old"], cells["only_new"]) == (8, 0, 0)
    assert cells["classes"]["promyelocyte"]["same"]["k"] == 0
    assert cells["classes"]["promyelocyte"]["to"] == {"other cell": 8}
    assert found["speed"]["ratio"]["pairs"] == 4
    assert (found["old"]["version"], found["new"]["version"]) == ("1.0", "2.0")
    assert found["old"]["signed_by"] == "unsigned"
    assert len(found["labelled"]["changed"]) == 4
    assert not (tmp_path / "out" / "journal.sqlite3").exists()
    for side in ("old", "new"):
        assert len(read_rows(tmp_path / "out" / side / "journal.sqlite3")) == 4
        assert (tmp_path / "out" / side / "index.html").is_file()


def test_a_bundle_agrees_with_itself_and_a_second_run_keeps_what_is_finished(
    models: tuple[Model, Model], folder: Path, tmp_path: Path
) -> None:
    request = ComparisonRequest(folder / "slides", tmp_path / "out", um_per_px=0.2)
    order: list[str] = []
    found = compare_bundles(models[0], models[0], request, lambda name, *_: order.append(name))
    assert order == list(NAMES)
    assert (found["changed"], found["lost_flags"], found["labelled"]) == ([], [], None)
    assert found["verdicts"]["FLAG"]["same"]["value"] == 1
    again = compare_bundles(models[0], models[0], request)
    assert again["speed"]["ratio"] is None
    assert {**again, "speed": None} == {**found, "speed": None}


def test_slides_take_turns_so_that_a_slow_moment_meets_both(
    models: tuple[Model, Model], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = compare_bundles.__globals__["examine_slides"]

    def examine(model: Model, jobs: Any, **more: Any) -> None:
        asked.append("old" if model is models[0] else "new")
        real(model, jobs, **more)

    monkeypatch.setattr("edgeapl.comparison.compare.examine_slides", examine)
    seconds = itertools.count()
    request = ComparisonRequest(folder / "slides", tmp_path / "out", um_per_px=0.2)
    found = compare_bundles(*models, request, now=lambda: float(next(seconds)))
    assert asked == ["old", "new", "new", "old"] * 2
    assert found["speed"]["ratio"]["value"] == pytest.approx(1.0)


def result(slide: str, verdict: str) -> SlideResult:
    return SlideResult(slide, verdict, 0.5)


def test_lost_flags_come_first_and_every_class_is_counted() -> None:
    old = [result("a", "CLEAR"), result("b", "FLAG"), result("c", "FLAG"), result("d", "REVIEW")]
    new = [result("a", "REVIEW"), result("b", "CLEAR"), result("c", "FLAG"), result("e", "FLAG")]
    assert [one["slide"] for one in changed_verdicts(old, new)] == ["b", "a"]
    found = verdict_concordance(old, new)
    assert (found["FLAG"]["old"], found["FLAG"]["new"], found["FLAG"]["same"]["k"]) == (2, 1, 1)
    assert found["CLEAR"]["to"] == {"REVIEW": 1}


def test_cells_are_the_same_by_slide_frame_and_box(tmp_path: Path) -> None:
    head = "slide,frame,frame_number,cell,x0,y0,x1,y1,status,class"
    old = ["s,f,0,0,1,1,9,9,scored,blast", "s,f,0,1,20,1,29,9,scored,", "s,f,1,2,1,1,9,9,scored,x"]
    new = ["s,f,0,0,1,1,9,9,scored,blast", "s,f,0,1,20,1,29,9,scored,x"]
    for name, rows in (("old", old), ("new", new)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cells.csv").write_text("\n".join([head, *rows]) + "\n")
    found = cell_concordance(tmp_path / "old", tmp_path / "new")
    assert (found["cells"], found["only_old"], found["only_new"]) == (2, 1, 0)
    assert found["classes"]["blast"]["same"]["k"] == 1
    assert found["classes"]["without a score"]["to"] == {"x": 1}


def clearing(certificate: bool, without: str = "") -> Any:
    made = SimpleNamespace(certificate=object() if certificate else None, without=without)
    return cast(Any, SimpleNamespace(clearing=made))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (clearing(True), clearing(False), "clears no slide (the old one did)"),
        (clearing(False), clearing(False), "clears no slide (neither did the old one)"),
        (clearing(True), clearing(True, "engines are not proven"), "clears no slide"),
        (clearing(False), clearing(True), "by its own certificate (the old one could not)"),
    ],
)
def test_what_becomes_of_the_certificate_is_said(old: Any, new: Any, said: str) -> None:
    assert said in certificate_text(old, new)


def test_the_command_says_a_lost_flag_in_words(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    command = ["compare", str(folder / "keen"), str(folder / "blind")]
    command += ["--slides", str(folder / "slides"), "--um-per-px", "0.2"]
    assert run(command) == 0
    said = capsys.readouterr().out
    assert "4 slides, 4 with another verdict" in said.replace("\u202f", " ")
    assert "a: FLAG -> REVIEW, a flag is LOST" in said
    assert "promyelocyte: 0 of 8 stay" in said
    assert "Research use only" in said
    assert not (tmp_path / "state").exists()
    assert run([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lost_flags"] == list(NAMES)
