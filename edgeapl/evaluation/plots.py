"""Draws curves and matrices; needs the extra `plots`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgeapl.evaluation.calibration_curve import brier_score, calibration_curve
from edgeapl.evaluation.confusion import ConfusionMatrix
from edgeapl.evaluation.evaluator import Curve, Evaluation
from edgeapl.evaluation.ranking import (
    average_precision,
    precision_recall_points,
    roc_auc,
    roc_points,
)
from edgeapl.report.safe_names import safe_name

RESEARCH_USE_ONLY = "Research use only. Not for diagnosis."
INK = "#0b5394"
SIZE_INCHES = (5.2, 4.8)


def draw(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write a PNG and an SVG of every curve and matrix, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for curve in evaluation.curves:
        written += save(folder, f"roc {curve.name}", partial(_roc, curve=curve))
        written += save(folder, f"precision-recall {curve.name}", partial(_pr, curve=curve))
        written += save(folder, f"calibration {curve.name}", partial(_calibration, curve=curve))
    for name, matrix in evaluation.matrices:
        written += save(folder, f"confusion {name}", partial(_matrix, matrix=matrix))
    return written


def save(folder: Path, name: str, paint: Callable[[Axes], None]) -> list[Path]:
    """Write what is painted as a PNG and an SVG named and titled so, and return both files."""
    # A fixed salt, so that the same figures give the same SVG.
    with mpl.rc_context({"svg.hashsalt": "edgeapl"}):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.subplots()
        paint(axes)
        axes.set_title(name)
        figure.supxlabel(RESEARCH_USE_ONLY, fontsize=8, color="#555555")
        stem = safe_name(name.replace(" ", "-"))
        files = [folder / f"{stem}.png", folder / f"{stem}.svg"]
        figure.savefig(files[0], dpi=150)
        figure.savefig(files[1], metadata={"Date": None})
    return files


def _roc(axes: Axes, curve: Curve) -> None:
    false, true = roc_points(curve.truth, curve.scores)
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linestyle="--", linewidth=1)
    area = roc_auc(curve.truth, curve.scores)
    axes.plot(false, true, color=INK, label=f"area {area:.3f}, {_count(curve)}")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.legend(loc="lower right")
    axes.set_aspect("equal")


def _pr(axes: Axes, curve: Curve) -> None:
    precision, recall = precision_recall_points(curve.truth, curve.scores)
    base = float(curve.truth.mean())
    axes.axhline(base, color="#bbbbbb", linestyle="--", linewidth=1)
    area = average_precision(curve.truth, curve.scores)
    axes.step(recall, precision, where="pre", color=INK, label=f"area {area:.3f}, {_count(curve)}")
    axes.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(0, 1.03))
    axes.legend(loc="lower left")


def _calibration(axes: Axes, curve: Curve) -> None:
    """Draw the share of positives in each bin of probabilities, with its 95 % interval."""
    bins = calibration_curve(curve.truth, curve.scores)
    given = [one["mean_probability"] for one in bins]
    shares = [one["share"] for one in bins]
    below = [one["share"] - one["low"] for one in bins]
    above = [one["high"] - one["share"] for one in bins]
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linestyle="--", linewidth=1)
    score = brier_score(curve.truth, curve.scores)
    label = f"Brier score {score:.3f}, {_count(curve)}"
    axes.errorbar(
        given, shares, np.clip([below, above], 0, 1), color=INK, marker="o", capsize=3, label=label
    )
    axes.set(xlabel="mean probability", ylabel="share of positives")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="upper left")
    axes.set_aspect("equal")


def _count(curve: Curve) -> str:
    return f"{int(curve.truth.sum())} of {len(curve.truth)} positive"


def _matrix(axes: Axes, matrix: ConfusionMatrix) -> None:
    axes.imshow(matrix.counts, cmap="Blues")
    limit = matrix.counts.max() / 2
    for row, counts in enumerate(matrix.counts.tolist()):
        for column, count in enumerate(counts):
            colour = "white" if count > limit else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
    places = range(len(matrix.classes))
    axes.set_xticks(places, matrix.classes, rotation=30, ha="right")
    axes.set_yticks(places, matrix.classes)
    axes.set(xlabel="predicted", ylabel="truth")
