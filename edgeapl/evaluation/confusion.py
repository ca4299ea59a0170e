"""A confusion matrix and the figures derived from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import InputError
from edgeapl.sources.table_file import TableReader
from edgeapl.stages.intervals import wilson
from edgeapl.wording.names import canonical_name
from edgeapl.wording.printable import printable

Counts = NDArray[np.int64]
CONFIDENCE = 0.95
HOW = "first row: a cell of any text, then the classes; one row per true class"
_READER = TableReader(
    what="confusion matrix", mend=HOW, fits=lambda columns: len(columns) > 2, error=InputError
)


@dataclass(frozen=True, slots=True, eq=False)
class ConfusionMatrix:
    """How often each class was predicted as each.

    classes : names. counts : int64 (C, C), rows are the truth, columns the predictions.
    """

    classes: tuple[str, ...]
    counts: Counts

    @classmethod
    def of(cls, truth: Sequence[str], predicted: Sequence[str]) -> ConfusionMatrix:
        """Count pairs; classes are sorted by name."""
        classes = tuple(sorted({*truth, *predicted}))
        place = {name: row for row, name in enumerate(classes)}
        counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
        for true, said in zip(truth, predicted, strict=True):
            counts[place[true], place[said]] += 1
        return cls(classes, counts)

    def document(self) -> dict[str, Any]:
        """Return all figures as plain JSON values; undefined ones are null."""
        right = int(np.trace(self.counts))
        total = int(self.counts.sum())
        classes = {name: self._figures(row) for row, name in enumerate(self.classes)}
        return {
            "n": total,
            "classes": list(self.classes),
            "rows_are": "truth",
            "counts": self.counts.tolist(),
            "accuracy": share(right, total),
            "per_class": classes,
            "macro": {name: _mean(classes, name, None) for name in ("precision", "recall", "f1")},
            "weighted": {
                name: _mean(classes, name, self.counts.sum(axis=1))
                for name in ("precision", "recall", "f1")
            },
        }

    def _figures(self, row: int) -> dict[str, Any]:
        hit = int(self.counts[row, row])
        truth, said = int(self.counts[row].sum()), int(self.counts[:, row].sum())
        return {
            "n": truth,
            "precision": share(hit, said),
            "recall": share(hit, truth),
            "f1": 2 * hit / (truth + said) if truth + said else None,
        }


def share(part: int, whole: int) -> dict[str, Any]:
    """Return a share with its Wilson interval; null with a reason if `whole` is 0."""
    if not whole:
        return {"value": None, "low": None, "high": None, "k": part, "n": whole}
    around = wilson(part, whole, CONFIDENCE)
    return {"value": part / whole, "low": around.low, "high": around.high, "k": part, "n": whole}


def _mean(classes: dict[str, Any], name: str, weights: Counts | None) -> float | None:
    """Average over classes; None if one of them has no figure."""
    values = [figures[name] for figures in classes.values()]
    plain = [value["value"] if isinstance(value, dict) else value for value in values]
    if not plain or any(value is None for value in plain):
        return None
    return float(np.average(plain, weights=weights))


def read_confusion(path: Path, *, transposed: bool = False) -> ConfusionMatrix:
    """Read a confusion matrix from a CSV.

    The first row holds one cell of any text, then the predicted classes; every further row holds a
    true class and its counts. transposed : rows are predictions instead.

    Raises InputError that names the line.
    """
    table = _READER.read(path)
    if len(table.rows) < 2:
        raise InputError("confusion matrix needs at least two classes", printable(path), HOW)
    predicted = [canonical_name(name) for name in table.headings[1:]]
    truth, counts = [], []
    for row in table.rows:
        truth.append(canonical_name(row.cells[0].strip()))
        where = f"{printable(path)}, line {row.line}"
        counts.append([_count(cell, where) for cell in row.cells[1:]])
    if sorted(truth) != sorted(predicted) or len(set(truth)) != len(truth):
        mend = "the first row and the first column must hold the same names, each once"
        raise InputError("classes of rows and columns differ", printable(path), mend)
    order = [predicted.index(name) for name in truth]
    square = np.array(counts, dtype=np.int64)[:, order]
    return ConfusionMatrix(tuple(truth), square.T if transposed else square)


def _count(cell: str, where: str) -> int:
    if not cell.strip().isdecimal():
        raise InputError("not a count", f"{where}: {cell!r}", "write whole numbers from 0 on")
    return int(cell)
