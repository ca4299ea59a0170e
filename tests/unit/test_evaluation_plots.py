"""Curves and matrices are drawn, say what they are for, and are the same twice."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the plots extra")

from edgeapl.evaluation.evaluator import EvaluationOptions, evaluate_slides
from edgeapl.evaluation.plots import RESEARCH_USE_ONLY, draw
from tests.unit.test_evaluation import LABELS, SLIDES


def test_every_curve_and_matrix_is_drawn_twice_the_same(tmp_path: Path) -> None:
    evaluation = evaluate_slides(SLIDES, LABELS, EvaluationOptions())
    files = draw(evaluation, tmp_path / "one")
    again = draw(evaluation, tmp_path / "two")
    assert len(files) == 2 * (3 * len(evaluation.curves) + len(evaluation.matrices)) >= 16
    drawn = {file.name for file in files}
    assert {"calibration-APL-by-slide.png", "calibration-APL-by-slide.svg"} <= drawn
    for file, other in zip(files, again, strict=True):
        assert file.read_bytes() == other.read_bytes()
        if file.suffix == ".png":
            picture = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None
            assert picture.std() > 5
        else:
            assert RESEARCH_USE_ONLY in file.read_text(encoding="utf-8")
