"""Pictures of a training: curves over epochs, ROC, PR, confusion, and cells as points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from edgeapl.evaluation.plots import draw, save
from edgeapl.export.training.embedding import Embedding
from edgeapl.export.training.loop import Epoch
from edgeapl.export.training.metrics import evaluation_of
from edgeapl.export.training.trainer import Trained

MOST_NAMED = 20
"""Groups that get a colour and a line in the legend; further ones are drawn grey."""


def draw_training(trained: Trained, embedding: Embedding, folder: Path) -> list[Path]:
    """Write a PNG and an SVG of every picture, and return the SVGs in the order of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for name, kind in (("loss over epochs", "loss"), ("area over epochs", "area")):
        files += save(folder, name, partial(_epochs, trained=trained, kind=kind))
    tested = trained.folds or trained.test
    if tested:
        files += draw(evaluation_of(tested), folder)
    images = [trained.pool.images[row] for row in trained.own.cells.tolist()]
    groups = {"cells by class": [image.cell_class or image.label for image in images]}
    if any(image.label for image in images):
        groups["cells by diagnosis"] = [image.label or image.cell_class for image in images]
    if not trained.labelled.by_image:
        groups["cells by patient"] = [image.patient for image in images]
    for name, of in groups.items():
        files += save(folder, name, partial(_points, embedding=embedding, groups=of))
    return [file for file in files if file.suffix == ".svg"]


def _epochs(axes: Axes, trained: Trained, kind: str) -> None:
    for one in trained.rounds:
        model = one.split.name == "model"
        width, alpha = (2.0, 1.0) if model else (0.8, 0.6)
        numbers = range(1, len(one.history) + 1)
        mark = "o" if len(one.history) == 1 else ""
        for watched, colour in ((False, "#0b5394"), (True, "#c05000")):
            values = [_value(epoch, kind, watched) for epoch in one.history]
            if any(value is not None for value in values):
                shown = np.array(values, dtype=np.float64)
                axes.plot(numbers, shown, color=colour, linewidth=width, alpha=alpha, marker=mark)
    # Lines for the legend alone: there are as many others as rounds.
    axes.plot([], [], color="#0b5394", label="learned from, as augmented")
    axes.plot([], [], color="#c05000", label="not learned from")
    axes.plot([], [], color="#555555", linewidth=2, label="thick: the model for use")
    axes.set(xlabel="epoch", ylabel=kind)
    axes.legend(fontsize=8)


def _value(epoch: Epoch, kind: str, watched: bool) -> float | None:
    if kind == "loss":
        return epoch.watched_loss if watched else epoch.loss
    return epoch.watched_area if watched else epoch.area


def _points(axes: Axes, embedding: Embedding, groups: Sequence[str]) -> None:
    counts = {name: groups.count(name) for name in set(groups)}
    named = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_NAMED]
    colours = mpl.colormaps["tab10" if len(named) <= 10 else "tab20"]
    x, y = embedding.points.T
    of = np.array(groups)
    rest = ~np.isin(of, named)
    if rest.any():
        axes.scatter(x[rest], y[rest], s=8, color="#bbbbbb", label=f"{len(counts)} in all")
    for number, name in enumerate(named):
        own = of == name
        axes.scatter(x[own], y[own], s=8, color=colours(number), alpha=0.8, label=name)
    first, second = (f"{share:.0%} of the variance" for share in embedding.shares)
    axes.set(xlabel=f"first axis, {first}", ylabel=f"second axis, {second}")
    axes.legend(fontsize=6, markerscale=1.5, ncols=1 if len(named) <= 10 else 2)
