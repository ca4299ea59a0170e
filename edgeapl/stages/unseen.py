"""Answers about cells that lie where the image can not be judged.

A network gives an answer for a cell in a blurred or dark part too. One that speaks for APL is
believed, so that no alarm is lost; any other says nothing about the cell, and the cell counts as
not examined, never as negative.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from edgeapl.bundle.specs import RoleSpec
from edgeapl.stages.accumulate import reached
from edgeapl.types import CellScores


def split(
    scores: CellScores, hidden: Collection[int], roles: Sequence[RoleSpec]
) -> tuple[CellScores, CellScores]:
    """Give the answers that count, and those that say nothing.

    hidden : numbers of the cells that lie where the image can not be judged.
    """
    if not hidden or not len(scores):
        return scores, rows_of(scores, np.zeros(len(scores), dtype=bool))
    unseen = np.isin(scores.ids, list(hidden)) & ~reached(roles, scores)[-1]
    return rows_of(scores, ~unseen), rows_of(scores, unseen)


def rows_of(scores: CellScores, rows: np.ndarray) -> CellScores:
    """Give some rows, bool (N,)."""
    return CellScores(
        ids=scores.ids[rows],
        roles={name: values[rows] for name, values in scores.roles.items()},
        features=scores.features[rows],
    )
