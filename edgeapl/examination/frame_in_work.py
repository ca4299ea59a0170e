"""A frame whose cells are being asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeapl.bundle.specs import RoleSpec
from edgeapl.examination.prepare import PreparedFrame
from edgeapl.stages.accumulate import counted, empty, merge
from edgeapl.stages.classify import Classified
from edgeapl.stages.order import (
    Order,
    Stratum,
)
from edgeapl.types import (
    CellScores,
    Int64,
)


@dataclass(slots=True, eq=False)
class FrameInWork:
    """A prepared frame and the answers that have come in for its cells.

    order : of its cells.
    start_ns, deadline_ns : monotonic; when its time started, and when the cells without an answer
        are given up; None when there is no hurry.
    given_up : numbers of cells nobody looked at.
    """

    prepared: PreparedFrame
    first_id: int
    order: Order
    start_ns: int
    deadline_ns: int | None
    answered: int = 0
    failed: set[int] = field(default_factory=set)
    given_up: set[int] = field(default_factory=set)
    scores: list[CellScores] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Cells of the frame."""
        return len(self.prepared.detections)

    @property
    def done(self) -> bool:
        """Whether every cell has an answer, a failure being one, or was given up."""
        return self.waiting == 0

    @property
    def waiting(self) -> int:
        """Cells without an answer that may still get one."""
        return self.count - self.answered - len(self.given_up)

    @property
    def ids(self) -> Int64:
        """int64 (N,), numbers of the frame's cells within the slide."""
        return np.arange(self.first_id, self.first_id + self.count, dtype=np.int64)

    @property
    def held_bytes(self) -> int:
        """What the frame and its crops take while they wait."""
        prepared = self.prepared
        arrays = (prepared.frame.pixels, prepared.detections.labels, prepared.crops)
        return sum(array.nbytes for array in arrays)

    def take(self, result: Classified) -> None:
        """Take the answers that are about this frame's cells."""
        ids, failed = result.scores.ids, result.failed
        last = self.first_id + self.count
        rows = (ids >= self.first_id) & (ids < last)
        lost = failed[(failed >= self.first_id) & (failed < last)].tolist()
        if rows.any():
            self.scores.append(_rows(result.scores, rows))
        self.failed.update(lost)
        self.answered += int(rows.sum()) + len(lost)

    def strata(self, roles: Sequence[RoleSpec]) -> list[Stratum]:
        """Give what is known of the cells looked at first, and of the rest."""
        scored = [set(scores.ids.tolist()) for scores in self.scores]
        strata = []
        for rows in (self.order.first, self.order.rest):
            cells = {self.first_id + row for row in rows.tolist()}
            state = empty(roles)
            for scores, ids in zip(self.scores, scored, strict=True):
                if ids & cells:
                    inside = np.isin(scores.ids, list(cells))
                    state = merge(state, counted(roles, "vote", _rows(scores, inside)))
            answered = state.cells + len(self.failed & cells)
            strata.append(
                Stratum(len(cells) - answered, state.cells, state.positive, state.suspicious)
            )
        return strata


def _rows(scores: CellScores, rows: np.ndarray) -> CellScores:
    return CellScores(
        ids=scores.ids[rows],
        roles={name: values[rows] for name, values in scores.roles.items()},
        features=scores.features[rows],
    )
