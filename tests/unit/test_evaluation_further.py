"""Boxes, differential counts, folds and another model: figures against ones worked out by hand."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeapl
from edgeapl.cli.main import run
from edgeapl.errors import InputError
from edgeapl.evaluation.boxes import FoundCells, box_document, read_found
from edgeapl.evaluation.calibration_curve import (
    brier_score,
    calibration_curve,
    calibration_document,
)
from edgeapl.evaluation.differential import bland_altman, differential_document, read_counts
from edgeapl.evaluation.evaluator import EvaluationOptions
from edgeapl.evaluation.folds import fold_document, read_folds
from edgeapl.evaluation.labels import SlideLabel
from edgeapl.evaluation.paired import compare_models, delong_paired
from edgeapl.evaluation.ranking import delong, roc_auc
from edgeapl.evaluation.results import SlideResult, read_slides

COCO_TOOLS = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""pycocotools' masks do not know NumPy 2's copy keyword."""


def result(slide: str, verdict: str, probability: float | None, **more: Any) -> SlideResult:
    return SlideResult(slide, verdict, probability, **more)


def labels(*names: str) -> dict[str, SlideLabel]:
    """Give slides named like ``a1`` labels: APL for those with a capital, else AML."""
    return {n: SlideLabel("APL" if n[0].isupper() else "AML", n) for n in names}


def test_delongs_paired_test_is_that_of_the_covariance_of_all_pairs() -> None:
    rng = np.random.default_rng(3)
    truth = np.array([True] * 13 + [False] * 22)
    one = np.round(rng.normal(size=35) + truth, 1)
    other = np.round(0.7 * one + rng.normal(size=35), 1)

    def order(scores: Any) -> Any:  # 1, 1/2 or 0 for each pair of a positive and a negative
        apart = scores[truth][:, None] - scores[~truth][None]
        return (apart > 0) + 0.5 * (apart == 0)

    pairs = [order(one), order(other)]
    of_positives = np.cov([pair.mean(axis=1) for pair in pairs])
    of_negatives = np.cov([pair.mean(axis=0) for pair in pairs])
    covariance = of_positives / 13 + of_negatives / 22
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    difference = pairs[0].mean() - pairs[1].mean()
    test = delong_paired(truth, one, other)
    assert test["value"] == pytest.approx(difference)
    assert test["z"] == pytest.approx(difference / math.sqrt(variance))
    assert test["p"] == pytest.approx(math.erfc(abs(test["z"]) / math.sqrt(2)))
    assert test["high"] - test["low"] == pytest.approx(2 * 1.959964 * math.sqrt(variance))
    assert test["area"] == pytest.approx(roc_auc(truth, one))
    assert delong(truth, one) is not None


def test_models_that_order_all_slides_alike_give_no_test() -> None:
    truth = np.array([True, False, True, False])
    scores = np.array([0.9, 0.1, 0.3, 0.4])
    test = delong_paired(truth, scores, scores / 2)
    assert (test["value"], test["p"]) == (0.0, None)
    assert "no interval can be computed" in test["reason"]


def test_delongs_test_keeps_its_level_where_two_models_are_alike() -> None:
    rng = np.random.default_rng(1)
    truth = np.array([True] * 40 + [False] * 60)
    wrong = 0
    for _ in range(400):
        common = rng.normal(size=100) + truth
        test = delong_paired(truth, common + rng.normal(size=100), common + rng.normal(size=100))
        wrong += test["p"] < 0.05
    assert 0.02 <= wrong / 400 <= 0.09


def test_changed_verdicts_are_listed_and_slides_of_one_model_alone_counted() -> None:
    mine = [result("A", "FLAG", 0.9), result("b", "REVIEW", 0.4), result("C", "FLAG", 0.8)]
    theirs = [result("A", "CLEAR", 0.2), result("b", "REVIEW", 0.3), result("d", "FLAG", 0.8)]
    document = compare_models(mine, theirs, labels("A", "b", "C", "d"), "APL")
    assert (document["slides"], document["only_here"], document["only_there"]) == (2, 1, 1)
    assert document["moves"] == [{"label": "APL", "from": "CLEAR", "to": "FLAG", "slides": 1}]
    assert [one["slide"] for one in document["changed"]] == ["A"]
    with pytest.raises(InputError, match="in both results"):
        compare_models(mine, theirs[2:], labels("A", "b"), "APL")


def test_slides_of_one_patient_are_one_row_of_the_paired_test() -> None:
    known = {f"s{n}": SlideLabel("APL" if n < 4 else "AML", f"p{n // 2}") for n in range(8)}
    rows = [result(f"s{n}", "REVIEW", n / 10) for n in range(8)]
    assert compare_models(rows, rows, known, "APL")["delong"]["n"] == 4


def test_brier_and_curve_are_those_by_hand() -> None:
    truth = np.array([True, False, False, True] * 5)
    scores = np.array([0.9, 0.1, 0.2, 0.6] * 5)
    assert brier_score(truth, scores) == pytest.approx((0.01 + 0.01 + 0.04 + 0.16) / 4)
    curve = calibration_curve(truth, scores)
    assert sum(one["n"] for one in curve) == 20
    assert [one["share"] for one in curve] == [0.0, 0.0, 1.0, 1.0]
    document = calibration_document(truth, scores, [str(n) for n in range(20)])
    assert document["brier_skill"] == pytest.approx(1 - 0.055 / 0.25)
    assert document["brier"]["low"] <= document["brier"]["value"] <= document["brier"]["high"]
    assert calibration_document(truth | True, scores, ["a"] * 20)["brier_skill"] is None
    assert len(calibration_curve(truth, np.full(20, 0.5))) == 1  # ties stay together


def test_folds_have_mean_and_deviation(tmp_path: Path) -> None:
    known = labels("A", "b", "C", "d", "E", "f")
    rows = [
        *(result("A", "FLAG", 0.9), result("b", "REVIEW", 0.2)),
        *(result("C", "FLAG", 0.8), result("d", "REVIEW", 0.7)),
        *(result("E", "REVIEW", 0.1), result("f", "REVIEW", 0.3)),
    ]
    path = tmp_path / "folds.csv"
    path.write_text("slide,fold\nA,1\nb,1\nC,2\nd,2\nE,3\nf,3\n")
    document = fold_document(rows, known, read_folds(path), EvaluationOptions())
    assert [one["accuracy"] for one in document["folds"].values()] == [1.0, 0.5, 0.5]
    mean = document["mean"]["roc_auc"]
    assert mean["value"] == pytest.approx(2 / 3)
    assert mean["deviation"] == pytest.approx(np.std([1, 1, 0], ddof=1))
    with pytest.raises(InputError, match="slide is in no fold: f"):
        fold_document(rows, known, dict.fromkeys("AbCdE", "1"), EvaluationOptions())
    one_patient = {**known, "f": SlideLabel("AML", "b")}
    with pytest.raises(InputError, match="patient is in two folds: b"):
        fold_document(rows, one_patient, read_folds(path), EvaluationOptions())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slide,part\na,1\n", "folds"),
        ("slide,fold\na,\n", "fold is empty"),
        ("slide,fold\na,1\na,2\n", "in two folds"),
    ],
)
def test_folds_that_can_not_be_meant_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_folds(tmp_path / "f.csv")


def test_bland_altman_is_that_by_hand() -> None:
    machine, person = np.array([0.2, 0.4, 0.6, 0.5]), np.array([0.1, 0.4, 0.5, 0.6])
    found = bland_altman(machine, person)
    apart = machine - person
    assert found["bias"] == pytest.approx(apart.mean())
    assert found["high"] == pytest.approx(apart.mean() + 1.959964 * apart.std(ddof=1))
    low, high = found["low_interval"]
    assert low < found["low"] < high
    assert bland_altman(machine[:2], person[:2])["low"] is None


def test_counts_of_people_are_compared_by_role(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    rows = ["slide,Promyelocyte,Myeloblast,other", "a,10,20,70", "b,50,0,50", "c,0,10,90"]
    path.write_text("\n".join(rows) + "\n")
    shares = {"a": 12, "b": 48, "c": 30}
    results = [
        result(name, "REVIEW", 0.5, counts={"promyelocyte": (count, 100)})
        for name, count in shares.items()
    ]
    document = differential_document(
        [*results, result("d", "REVIEW", 0.5)], read_counts(path), None
    )
    role = document["roles"]["promyelocyte"]
    assert document["not_counted"] == ["d"]
    assert role["bland_altman"]["bias"] == pytest.approx((0.02 - 0.02 + 0.3) / 3)
    # 12 of 100 is within the limits of 10 of 100 (4.9 to 17.6 %), 30 % is not within those of none.
    assert role["within_rumke_limits"]["k"] == 2
    assert role["pearson"] == pytest.approx(np.corrcoef([12, 48, 30], [10, 50, 0])[0, 1])
    asked = {"promyelocyte": ("Promyelocyte", "Myeloblast")}
    both = differential_document(results, read_counts(path), asked)
    assert both["roles"]["promyelocyte"]["bland_altman"]["bias"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slide,a,b\nx,1.5,2\n", "count is not a number"),
        ("slide,a,b\nx,0,0\n", "nothing was counted"),
        ("slide,a,b\nx,1,0\nx,1,0\n", "missing or listed twice"),
    ],
)
def test_counts_that_are_none_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_counts(tmp_path / "c.csv")


def coco(path: Path, boxes: dict[str, list[list[float]]]) -> Path:
    images = [{"id": n, "file_name": name} for n, name in enumerate(boxes, start=1)]
    annotations = [
        {"id": 100 * n + m, "image_id": n, "category_id": 1, "bbox": box}
        for n, some in enumerate(boxes.values(), start=1)
        for m, box in enumerate(some)
    ]
    categories = [
        {"id": 1, "name": "cell", "supercategory": "cell"},
        {"id": 2, "name": "not a cell", "supercategory": "none"},
    ]
    annotations.append({"id": 9, "image_id": 1, "category_id": 2, "bbox": [300, 300, 20, 20]})
    document = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(document))
    return path


@COCO_TOOLS
def test_boxes_are_judged_as_coco_does(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    drawn = coco(tmp_path / "b.json", {"s/1.png": [[0, 0, 20, 20], [50, 50, 20, 20]]})
    whole = FoundCells("/x/s/1.png", True, ((0, 0, 20, 20, 0.9), (50, 50, 70, 70, 0.8)))
    found = box_document([whole], drawn)
    assert (found["drawn"], found["found"]) == (2, 2)  # what is no cell does not count
    assert found["average_precision_50_95"] == pytest.approx(1.0)
    # One is missed, one is 15 of 20 px wide (IoU 0.75): at 0.5 to 0.75 half of the cells.
    some = FoundCells("/x/s/1.png", True, ((0, 0, 15, 20, 0.9),))
    found = box_document([some], drawn)
    assert found["recall_50"] == pytest.approx(0.5)
    assert found["recall_50_95"] == pytest.approx(0.5 * 6 / 10)
    # Up to 51 of 101 recalls are reached.
    assert found["average_precision_50"] == pytest.approx(51 / 101)


@COCO_TOOLS
def test_more_than_a_hundred_cells_of_an_image_count(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    places = [(30.0 * (n % 20), 30.0 * (n // 20)) for n in range(240)]
    drawn = coco(tmp_path / "b.json", {"1.png": [[x, y, 20, 20] for x, y in places]})
    cells = tuple((x, y, x + 20, y + 20, 0.5) for x, y in places)
    assert box_document([FoundCells("1.png", True, cells)], drawn)["recall_50"] == 1.0


def test_images_that_nobody_examined_are_named_and_others_refused(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    drawn = coco(tmp_path / "b.json", {"1.png": [[0, 0, 20, 20]], "2.png": [[0, 0, 9, 9]]})
    rejected = FoundCells("2.png", False, ())
    with pytest.raises(InputError, match="no examined image has boxes"):
        box_document([rejected], drawn)
    drawn.write_text('{"images": []}')
    with pytest.raises(InputError, match="boxes not understood"):
        box_document([rejected], drawn)


def results_folder(folder: Path, rows: list[tuple[str, str, float]]) -> Path:
    folder.mkdir()
    lines = []
    for slide, verdict, probability in rows:
        count = {"role": "promyelocyte", "positive": 3, "scored": 10}
        record = {"slide": slide, "verdict": verdict, "probability": probability}
        lines.append(json.dumps({**record, "counts": [count]}))
    (folder / "verdicts.jsonl").write_text("\n".join(lines) + "\n")
    with (folder / "cells.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["slide", "frame_number", "x0", "y0", "x1", "y1", "detection_score"])
        table.writerow(["a", "0", 0, 0, 20, 20, 0.9])
    with (folder / "frames.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerows([["slide", "frame", "frame_number", "used"], ["a", "/i/1.png", "0", "yes"]])
    return folder


@COCO_TOOLS
def test_the_command_gives_all_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools")
    rows = [("a", "FLAG", 0.9), ("b", "REVIEW", 0.6), ("c", "CLEAR", 0.1), ("d", "REVIEW", 0.3)]
    one = results_folder(tmp_path / "one", rows)
    other = results_folder(tmp_path / "other", [(s, "REVIEW", 1 - p) for s, _, p in rows])
    (tmp_path / "l.csv").write_text("slide,label\na,APL\nb,APL\nc,AML\nd,AML\n")
    (tmp_path / "f.csv").write_text("slide,fold\na,1\nc,1\nb,2\nd,2\n")
    (tmp_path / "c.csv").write_text("slide,promyelocyte,other\na,3,7\nb,1,9\nc,2,8\nd,4,6\n")
    boxes = coco(tmp_path / "b.json", {"1.png": [[0, 0, 20, 20]]})
    arguments = ["evaluate", str(one), "--labels", str(tmp_path / "l.csv")]
    arguments += ["--folds", str(tmp_path / "f.csv"), "--counts", str(tmp_path / "c.csv")]
    arguments += ["--boxes", str(boxes), "--against", str(other)]
    assert run(arguments) == 0
    said = capsys.readouterr().out
    for words in ("boxes: 1 drawn, 1 found", "Brier score", "Rümke", "mean", "2 verdicts changed"):
        assert words in said
    assert "a (APL): REVIEW there, FLAG here" in said
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["boxes"]["average_precision_50"] == pytest.approx(1.0)
    assert document["cross_validation"]["mean"]["roc_auc"]["value"] == 1.0
    assert document["against"]["delong"]["value"] == pytest.approx(1.0)
    files = {"folds": "f.csv", "counts": "c.csv", "boxes": "b.json", "against": "other"}
    asked: dict[str, Any] = {name: tmp_path / file for name, file in files.items()}
    assert edgeapl.evaluate(one, tmp_path / "l.csv", **asked) == document
    assert len(read_found(one)) == 1
    assert read_slides(one)[0].counts == {"promyelocyte": (3, 10)}
