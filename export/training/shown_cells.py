"""The cells on the page of a training: those that were told best, and worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.export.training.cell_pool import CellPool
from edgeapl.export.training.objective import Predictions
from edgeapl.report.pictures import jpeg_bytes

MOST = 24


@dataclass(frozen=True, slots=True)
class ShownCell:
    """One cell. probability : of the class that is looked for. jpeg : the picture."""

    patient: str
    label: str
    cell_class: str
    probability: float
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class ShownCells:
    """Some cells with what they have in common, in words."""

    title: str
    cells: tuple[ShownCell, ...]


def shown_cells(pool: CellPool, said: Sequence[Predictions], most: int = MOST) -> list[ShownCells]:
    """Return the cells that say most rightly and most wrongly what slides or images are.

    said : of slides that were not learned from, by preference. A cell's probability is what its
    slide would get if it had that cell alone.
    """
    sought = said[0].classes[-1]
    rows = np.concatenate([each.cells for each in said])
    scores = np.concatenate([each.cell_scores[:, -1] for each in said]).astype(np.float64)
    truth = np.concatenate([_are_of(pool, each, sought) for each in said])
    groups = (
        (f"Best: of {sought}, and most like it", truth, -scores),
        (f"Worst: not of {sought}, and most like it", ~truth, -scores),
        (f"Worst: of {sought}, and least like it", truth, scores),
        (f"Best: not of {sought}, and least like it", ~truth, scores),
    )
    shown = []
    for title, own, rank in groups:
        order = [at for at in np.argsort(rank, kind="stable").tolist() if own[at]][:most]
        if order:
            cells = tuple(_shown(pool, int(rows[at]), float(scores[at])) for at in order)
            shown.append(ShownCells(title, cells))
    return shown


def _are_of(pool: CellPool, said: Predictions, sought: str) -> NDArray[np.bool_]:
    """Tell of every cell whether its slide, or the image itself, is of the class sought."""
    truth = dict(zip(said.names, said.truth.tolist(), strict=True))
    number = said.classes.index(sought)
    images = [pool.images[row] for row in said.cells.tolist()]
    return np.array([truth.get(i.slide, truth.get(str(i.file))) == number for i in images])


def _shown(pool: CellPool, row: int, probability: float) -> ShownCell:
    image = pool.images[row]
    picture = jpeg_bytes(np.ascontiguousarray(pool.crops[row]))
    return ShownCell(image.patient, image.label, image.cell_class, probability, picture)
