"""`edgeapl evaluate` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.station import Station


def write_results(folder: Path) -> None:
    folder.mkdir()
    rows = [("a", "FLAG", 0.9), ("b", "CLEAR", 0.2), ("c", "REVIEW", 0.6), ("d", "CLEAR", 0.1)]
    lines = [json.dumps({"slide": s, "verdict": v, "probability": p}) for s, v, p in rows]
    (folder / "verdicts.jsonl").write_text("\n".join(lines) + "\n")
    (folder.parent / "labels.csv").write_text("slide,label\na,APL\nb,AML\nc,AML\nd,APL\n")


def test_results_and_labels_give_figures_as_a_table_and_as_json(
    station: Station, tmp_path: Path
) -> None:
    write_results(tmp_path / "r")
    arguments = ["evaluate", str(tmp_path / "r"), "--labels", str(tmp_path / "labels.csv")]
    shown = station.run(*arguments)
    assert shown.code == 0
    assert "area under ROC curve" in shown.out
    assert "Research use only" in shown.out
    document = station.run(*arguments, "--json").document
    assert document["research_use_only"]
    assert document["slides"]["roc_auc"]["value"] == 0.5


def test_a_confusion_matrix_is_taken_directly(station: Station, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("truth,APL,other\nAPL,37,1\nother,17,50\n")
    shown = station.run("evaluate", "--confusion", str(tmp_path / "m.csv"), "--digits", "4")
    assert shown.code == 0
    for figure in ("0.9737", "0.7463", "87 of 105"):
        assert figure in shown.out


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        ([], 2, "give one of them"),
        (["r"], 2, "labels are missing"),
        (["nowhere", "--labels", "labels.csv"], 3, "no results there"),
        (["--confusion", "none.csv"], 3, "file does not exist: none.csv"),
        (["r", "--labels", "labels.csv", "--map", "x"], 2, "ROLE=LABEL"),
    ],
)
def test_wrong_use_is_one_line(
    station: Station, tmp_path: Path, arguments: list[str], code: int, word: str
) -> None:
    write_results(tmp_path / "r")
    named = [str(tmp_path / a) if a in ("r", "labels.csv") else a for a in arguments]
    done = station.run("evaluate", *named)
    assert done.code == code
    assert word in done.err
    assert len(done.error_lines) == 1
