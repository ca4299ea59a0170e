"""Figures are those of the papers and of slow counting; what cannot be told is said."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeapl.errors import InputError
from edgeapl.evaluation.confusion import ConfusionMatrix, read_confusion, share
from edgeapl.evaluation.evaluator import EvaluationOptions, evaluate_cells, evaluate_slides
from edgeapl.evaluation.labels import SlideLabel, label_of_file, read_slide_labels
from edgeapl.evaluation.ranking import (
    average_precision,
    bootstrap,
    delong,
    ranking_document,
    roc_auc,
    roc_points,
)
from edgeapl.evaluation.results import CellResult, SlideResult

NAMES = ("NPM1-RARA", "NUP98-RARG", "PML-RARA", "STAT5B-RARA", "TTMV-RARA")

# Counts behind a table of the paper on spatial attention: hits and margins follow from the
# printed shares and intervals, the places of the errors are chosen to fit the margins.
TABLE_1 = [
    [25, 0, 1, 0, 0],
    [0, 5, 0, 0, 0],
    [2, 0, 264, 0, 2],
    [0, 0, 0, 16, 0],
    [0, 1, 1, 0, 41],
]
# Class: precision, recall (each with its 95 % interval) and F1, as printed.
PRINTED_1 = {
    "NPM1-RARA": ("0.926 (0.766, 0.979)", "0.962 (0.811, 0.993)", "0.943"),
    "PML-RARA": ("0.992 (0.973, 0.998)", "0.985 (0.962, 0.994)", "0.989"),
    "NUP98-RARG": ("0.833 (0.436, 0.970)", "1.000 (0.566, 1.000)", "0.909"),
    "STAT5B-RARA": ("1.000 (0.806, 1.000)", "1.000 (0.806, 1.000)", "1.000"),
    "TTMV-RARA": ("0.953 (0.845, 0.987)", "0.953 (0.845, 0.987)", "0.953"),
}


def printed(figure: dict[str, Any]) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f}, {figure['high']:.3f})"


def matrix_csv(folder: Path, counts: list[list[int]], order: tuple[str, ...] = NAMES) -> Path:
    place = [NAMES.index(name) for name in order]
    lines = [",".join(["truth", *order])]
    lines += [
        ",".join([name, *(str(counts[row][column]) for column in place)])
        for row, name in enumerate(NAMES)
    ]
    path = folder / "matrix.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_papers_table_comes_out_to_the_printed_digit(tmp_path: Path) -> None:
    document = read_confusion(matrix_csv(tmp_path, TABLE_1)).document()
    assert printed(document["accuracy"]) == "0.980 (0.960, 0.990)"
    for name, (precision, recall, f1) in PRINTED_1.items():
        figures = document["per_class"][name]
        assert printed(figures["precision"]) == precision
        assert printed(figures["recall"]) == recall
        assert f"{figures['f1']:.3f}" == f1


@pytest.mark.parametrize(
    ("hits", "total", "text"),
    [
        (23, 24, "0.958 (0.798, 0.993)"),
        (23, 26, "0.885 (0.710, 0.960)"),
        (263, 270, "0.974 (0.947, 0.987)"),
        (4, 4, "1.000 (0.510, 1.000)"),
        (4, 5, "0.800 (0.376, 0.964)"),
        (37, 44, "0.841 (0.706, 0.921)"),
        (37, 43, "0.860 (0.727, 0.934)"),
        (343, 358, "0.958 (0.932, 0.974)"),
        (0, 3, "0.000 (0.000, 0.561)"),
    ],
)
def test_intervals_are_those_that_the_paper_prints(hits: int, total: int, text: str) -> None:
    """Its second and third table."""
    assert printed(share(hits, total)) == text


def test_columns_may_come_in_another_order_and_rows_may_be_what_was_predicted(
    tmp_path: Path,
) -> None:
    plain = read_confusion(matrix_csv(tmp_path, TABLE_1))
    shuffled = read_confusion(matrix_csv(tmp_path, TABLE_1, tuple(reversed(NAMES))))
    np.testing.assert_array_equal(plain.counts, shuffled.counts)
    turned = read_confusion(matrix_csv(tmp_path, TABLE_1), transposed=True)
    np.testing.assert_array_equal(turned.counts, plain.counts.T)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("t,a,b\na,1,2\n", "two classes"),
        ("t,a,b\na,1\nb,1,2\n", "line 2: 2 columns instead of 3"),
        ("t,a,b\na,1,2\nb,1,-2\n", "line 3"),
        ("t,a,b\na,1,2.5\nb,1,2\n", "'2.5'"),
        ("t,a,b\na,1,2\nc,1,2\n", "differ"),
        ("t,a,b\na,1,2\na,1,2\n", "differ"),
    ],
)
def test_a_broken_matrix_is_refused_by_its_line(text: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(InputError, match=word):
        read_confusion(tmp_path / "m.csv")


def test_a_class_that_was_never_said_has_no_precision_not_zero() -> None:
    figures = ConfusionMatrix.of(["a", "a", "b"], ["a", "a", "a"]).document()
    assert figures["per_class"]["b"]["precision"]["value"] is None
    assert figures["per_class"]["b"]["recall"]["value"] == 0
    assert figures["macro"]["precision"] is None
    json.dumps(figures, allow_nan=False)


scored = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=4, max_size=40).filter(
    lambda rows: 2 <= sum(t for t, _ in rows) <= len(rows) - 2
)


@settings(max_examples=60, deadline=None)
@given(scored)
def test_the_area_is_the_share_of_pairs_in_order(rows: list[tuple[bool, int]]) -> None:
    truth = np.array([t for t, _ in rows])
    scores = np.array([s for _, s in rows], dtype=np.float64)
    pairs = [
        1.0 if p > n else 0.5 if p == n else 0.0 for p in scores[truth] for n in scores[~truth]
    ]
    assert roc_auc(truth, scores) == pytest.approx(np.mean(pairs))
    false, true = roc_points(truth, scores)
    area = float(((true[1:] + true[:-1]) / 2 * np.diff(false)).sum())
    assert area == pytest.approx(np.mean(pairs))


@settings(max_examples=40, deadline=None)
@given(scored)
def test_delongs_variance_is_that_of_the_slow_definition(rows: list[tuple[bool, int]]) -> None:
    """DeLong 1988, eq. 3 to 6, written out pair by pair."""
    truth = np.array([t for t, _ in rows])
    scores = np.array([s for _, s in rows], dtype=np.float64)
    positives, negatives = scores[truth], scores[~truth]
    psi = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    area = float(psi.mean())
    around = delong(truth, scores)
    if area in (0.0, 1.0):
        assert around is None
        return
    variance = psi.mean(axis=1).var(ddof=1) / len(positives)
    variance += psi.mean(axis=0).var(ddof=1) / len(negatives)
    spread = 1.959964 * math.sqrt(variance) / (area * (1 - area))
    middle = math.log(area / (1 - area))
    assert around is not None
    assert around[0] == pytest.approx(1 / (1 + math.exp(spread - middle)), abs=1e-6)
    assert around[1] == pytest.approx(1 / (1 + math.exp(-spread - middle)), abs=1e-6)


def test_average_precision_is_the_area_under_the_steps() -> None:
    truth = np.array([True, False, True, True, False])
    scores = np.array([0.9, 0.8, 0.7, 0.7, 0.1])
    # One of one, then three of four at the tie: 1/3 * 1 + 2/3 * 3/4.
    assert average_precision(truth, scores) == pytest.approx(1 / 3 + 2 / 3 * 3 / 4)


def test_cells_of_one_patient_do_not_count_as_independent() -> None:
    """A hundred copies of every row must not narrow the interval."""
    random = np.random.default_rng(0)
    truth = np.arange(12) % 2 == 0
    scores = truth + random.normal(0, 1.2, 12)
    names = [str(number) for number in range(12)]
    one = bootstrap(roc_auc, truth, scores, names)
    many = bootstrap(
        roc_auc, np.repeat(truth, 100), np.repeat(scores, 100), sorted(names * 100, key=int)
    )
    assert one is not None
    assert many is not None
    assert many == pytest.approx(one, abs=0.02)
    assert one == bootstrap(roc_auc, truth, scores, names)


def test_one_class_alone_has_no_area_and_the_reason_is_said() -> None:
    document = ranking_document(np.array([True, True]), np.array([0.1, 0.2]), ["a", "b"])
    assert document["roc_auc"]["value"] is None
    assert document["roc_auc"]["reason"] == "all are positive"


def result(slide: str, verdict: str, probability: float | None) -> SlideResult:
    return SlideResult(slide, verdict, probability)


SLIDES = [
    result("s1", "FLAG", 0.9),
    result("s2", "REVIEW", 0.4),
    result("s3", "CLEAR", 0.1),
    result("s4", "REVIEW", None),
    result("s5", "FLAG", 0.7),
    result("s6", "CLEAR", 0.2),
]
LABELS = {
    "s1": SlideLabel("APL", "p1"),
    "s2": SlideLabel("APL", "p1"),
    "s3": SlideLabel("AML", "p2"),
    "s4": SlideLabel("AML", "p3"),
    "s5": SlideLabel("AML", "p4"),
    "s9": SlideLabel("AML", "p9"),
}


def test_review_is_counted_as_itself_and_what_is_missing_is_named() -> None:
    document = evaluate_slides(SLIDES, LABELS, EvaluationOptions()).document
    slides = document["slides"]
    assert slides["verdicts"] == {
        "AML": {"FLAG": 1, "CLEAR": 1, "REVIEW": 1},
        "APL": {"FLAG": 1, "CLEAR": 0, "REVIEW": 1},
    }
    assert slides["positives_flagged"]["k"] == 1
    assert slides["positives_flagged_or_review"]["value"] == 1
    assert slides["without_probability"] == ["s4"]
    assert document["unlabelled"] == ["s6"]
    assert document["labels_without_result"] == ["s9"]
    json.dumps(document, allow_nan=False)


def test_a_patients_slides_are_one_patient() -> None:
    patients = evaluate_slides(SLIDES, LABELS, EvaluationOptions()).document["patients"]
    assert patients["n"] == 4
    assert patients["labels"] == {"AML": 3, "APL": 1}
    assert patients["verdicts"]["APL"] == {"FLAG": 1, "CLEAR": 0, "REVIEW": 0}
    # The mean of 0.9 and 0.4 is 0.65, below s5: not all pairs are in order.
    assert patients["roc_auc"]["value"] == 0.5


@pytest.mark.parametrize(
    ("labels", "question", "word"),
    [
        ({"x": SlideLabel("APL", "x")}, EvaluationOptions(), "no slide of the results has a label"),
        (LABELS, EvaluationOptions(positive="apl"), "give --positive: AML, APL"),
        (
            {**LABELS, "s2": SlideLabel("AML", "p1")},
            EvaluationOptions(),
            "patient has several labels: p1",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    labels: dict[str, SlideLabel], question: EvaluationOptions, word: str
) -> None:
    with pytest.raises(InputError, match=word):
        evaluate_slides(SLIDES, labels, question)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("slide,label\n", "empty"),
        ("slide,label\na,APL\na,AML\n", "line 3: a"),
        ("slide,label\na,\n", "line 2"),
        ("slide,label\na,APL,x\n", "line 2: 3 columns instead of 2"),
        ("name,label\na,APL\n", "neither slides nor patients"),
        ("slide,cells\na,3\n", "no column for the label"),
        ("slide,label,diagnosis\na,APL,APL\n", "two columns"),
    ],
)
def test_broken_labels_are_refused_by_line_or_column(text: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(InputError, match=word):
        read_slide_labels(tmp_path / "l.csv")


def test_labels_may_name_patients_alone(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("\ufeffPatient,Diagnosis,cells\nP1,APL,60\n", encoding="utf-8")
    assert read_slide_labels(tmp_path / "l.csv") == {"P1": SlideLabel("APL", "P1", of_patient=True)}


def test_a_cells_file_is_found_by_the_end_of_its_path() -> None:
    labels = {"a/1.png": "x", "1.png": "y"}
    assert label_of_file(labels, "/data/a/1.png") == "x"
    assert label_of_file(labels, "/data/b/1.png") == "y"
    assert label_of_file(labels, "/data/b/2.png") is None


CELLS = [
    CellResult("s1", "/d/p1/Promyelocyte/1.png", {"promyelocyte": 0.9}),
    CellResult("s1", "/d/p1/Blast/2.png", {"promyelocyte": 0.6}),
    CellResult("s3", "/d/p2/Promyelocyte/3.png", {"promyelocyte": 0.2}),
    CellResult("s3", "/d/p2/Blast/4.png", {"promyelocyte": 0.1}),
]


def test_cells_are_judged_by_their_folders_and_the_roles_threshold() -> None:
    question = EvaluationOptions(thresholds={"promyelocyte": 0.15})
    cells = evaluate_cells(CELLS, 3, None, LABELS, question).document["cells"]
    role = cells["roles"]["promyelocyte"]
    assert cells["unscored"] == 3
    assert role["classes"] == ["Promyelocyte"]
    assert role["at_threshold"]["per_class"]["promyelocyte"]["recall"]["k"] == 2
    assert role["at_threshold"]["per_class"]["promyelocyte"]["precision"]["n"] == 3
    assert role["roc_auc"]["value"] == 0.75
    assert "by patient" in role["roc_auc"]["method"]


@pytest.mark.parametrize(
    ("classes", "word"),
    [
        ({"blast": ("Blast",)}, "no such role"),
        ({"promyelocyte": ("Promyelozyt",)}, "no cell has this label"),
    ],
)
def test_a_wrong_map_is_refused(classes: dict[str, tuple[str, ...]], word: str) -> None:
    with pytest.raises(InputError, match=word):
        evaluate_cells(CELLS, 0, None, LABELS, EvaluationOptions(classes=classes))
