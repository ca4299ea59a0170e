"""Answers about cells that lie where the image cannot be judged.

A network gives an answer for a cell in a blurred or dark part too. It says nothing about the cell,
which counts as not examined, never as negative. Nor does it count alone when it speaks for APL: the
others beside it would not, and the share of suspicious cells would rise with every cell that is
hidden. Whether all these answers together raise a flag is asked apart.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from edgeapl.types import CellScores


def split(scores: CellScores, hidden: Collection[int]) -> tuple[CellScores, CellScores]:
    """Return the answers that count, and those about hidden cells.

    Parameters
    ----------
    hidden : numbers of the cells that lie where the image cannot be judged.
    """
    rows = np.isin(scores.ids, list(hidden))
    return rows_of(scores, ~rows), rows_of(scores, rows)


def rows_of(scores: CellScores, rows: np.ndarray) -> CellScores:
    """Return some rows, bool (N,)."""
    return CellScores(
        ids=scores.ids[rows],
        roles={name: values[rows] for name, values in scores.roles.items()},
        features=scores.features[rows],
    )
