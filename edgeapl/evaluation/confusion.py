"""A confusion matrix and the figures that come from it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import InputError
from edgeapl.stages.intervals import wilson

Counts = NDArray[np.int64]
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class ConfusionMatrix:
    """How often each class was called what.

    classes : names. counts : int64 (C, C), rows are the truth, columns what was predicted.
    """

    classes: tuple[str, ...]
    counts: Counts

    @classmethod
    def of(cls, truth: Sequence[str], predicted: Sequence[str]) -> ConfusionMatrix:
        """Count pairs; classes in the order of their names."""
        classes = tuple(sorted({*truth, *predicted}))
        place = {name: row for row, name in enumerate(classes)}
        counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
        for true, said in zip(truth, predicted, strict=True):
            counts[place[true], place[said]] += 1
        return cls(classes, counts)

    def document(self) -> dict[str, Any]:
        """Give all figures as plain JSON values; what can not be told is null."""
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
    """Give a share with its Wilson interval; of nothing there is no share, and that is said."""
    if not whole:
        return {"value": None, "low": None, "high": None, "k": part, "n": whole}
    around = wilson(part, whole, CONFIDENCE)
    return {"value": part / whole, "low": around.low, "high": around.high, "k": part, "n": whole}


def _mean(classes: dict[str, Any], name: str, weights: Counts | None) -> float | None:
    """Average over classes; None when one of them has no figure."""
    values = [figures[name] for figures in classes.values()]
    plain = [value["value"] if isinstance(value, dict) else value for value in values]
    if not plain or any(value is None for value in plain):
        return None
    return float(np.average(plain, weights=weights))


def read_confusion(path: Path, *, transposed: bool = False) -> ConfusionMatrix:
    """Read a confusion matrix from a CSV.

    The first row holds the predicted classes after one cell of any text, every further row a true
    class and its counts. Parameters: path; transposed : rows are what was predicted instead.

    Raises InputError that names the line.
    """
    rows = [row for row in _rows(path) if any(cell.strip() for cell in row)]
    if len(rows) < 3:
        mend = "first row: a cell of any text, then the classes; one row per true class"
        raise InputError("confusion matrix needs at least two classes", path, mend)
    predicted = [cell.strip() for cell in rows[0][1:]]
    truth, counts = [], []
    for number, row in enumerate(rows[1:], start=2):
        truth.append(row[0].strip())
        if len(row) != len(predicted) + 1:
            mend = f"expected {len(predicted) + 1} cells, got {len(row)}"
            raise InputError("confusion matrix is not square", f"{path}, line {number}", mend)
        counts.append([_count(cell, f"{path}, line {number}") for cell in row[1:]])
    if sorted(truth) != sorted(predicted) or len(set(truth)) != len(truth):
        mend = "the same names must stand in the first row and the first column, each once"
        raise InputError("classes of rows and columns differ", path, mend)
    order = [predicted.index(name) for name in truth]
    table = np.array(counts, dtype=np.int64)[:, order]
    return ConfusionMatrix(tuple(truth), table.T if transposed else table)


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("confusion matrix cannot be read", path, str(error)) from error
    return list(csv.reader(io.StringIO(text)))


def _count(cell: str, where: str) -> int:
    if not cell.strip().isdecimal():
        raise InputError("not a count", f"{where}: {cell!r}", "write whole numbers from 0 on")
    return int(cell)
