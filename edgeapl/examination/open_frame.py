"""A frame whose cells are being asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.specs import RoleSpec
from edgeapl.examination.preparation import PreparedFrame
from edgeapl.inference import InferenceResult
from edgeapl.stages.accumulate import counted, empty, merge, reached
from edgeapl.stages.cell_order import (
    Order,
    Stratum,
)
from edgeapl.stages.domain import FrameDescriptor, describe_frame
from edgeapl.stages.sequential import Look
from edgeapl.stages.unjudged_cells import rows_of
from edgeapl.types import (
    CellScores,
    Int64,
    Tally,
)


@dataclass(slots=True, eq=False)
class FrameInWork:
    """A prepared frame and the answers that have come in for its cells.

    Each cell is in one place at any time: it is open, or scored, unseen, failed, given up or
    left out.

    order : of its cells.
    start_ns, deadline_ns : monotonic; when its time started, and when the cells without an answer
        are given up; None when there is no hurry.
    unseen : answers that say nothing, because their cells lie where the image cannot be judged.
    given_up, left_out : numbers of cells nobody looked at: because time was up, and on purpose.
    whole : whether all cells are to be looked at, whatever the first ones say.
    descriptor : of what the frame looks like, once it was asked for.
    """

    prepared: PreparedFrame
    first_id: int
    order: Order
    start_ns: int
    deadline_ns: int | None
    failed: set[int] = field(default_factory=set)
    given_up: set[int] = field(default_factory=set)
    left_out: set[int] = field(default_factory=set)
    scores: list[CellScores] = field(default_factory=list)
    unseen: list[CellScores] = field(default_factory=list)
    whole: bool = False
    descriptor: FrameDescriptor | None = None
    _answers: NDArray[np.int8] | None = None
    _entered: int = 0
    _open: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self._open = set(self.ids.tolist())

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
        return len(self._open)

    @property
    def open(self) -> frozenset[int]:
        """Their numbers."""
        return frozenset(self._open)

    @property
    def scored(self) -> int:
        """Cells with usable answers."""
        return sum(len(scores) for scores in self.scores)

    @property
    def tally(self) -> Tally:
        """What became of the frame's cells; those that still wait count as left out."""
        return Tally(
            self.count,
            scored=self.scored,
            not_examined=len(self.given_up) + sum(map(len, self.unseen)),
            failed=len(self.failed),
            not_needed=len(self.left_out) + self.waiting,
        )

    @property
    def ids(self) -> Int64:
        """int64 (N,), numbers of the frame's cells within the slide."""
        return np.arange(self.first_id, self.first_id + self.count, dtype=np.int64)

    @property
    def held_bytes(self) -> int:
        """What the frame takes while it waits; not the cells that are cut out of it."""
        prepared = self.prepared
        evened = 0 if prepared.evened is None else prepared.evened.pixels.nbytes
        return int(prepared.frame.pixels.nbytes + evened + prepared.detections.labels.nbytes)

    @property
    def hidden(self) -> set[int]:
        """Numbers of the cells that lie where the image cannot be judged."""
        return set((self.first_id + self.prepared.hidden).tolist())

    def take(self, result: InferenceResult, unseen: CellScores | None = None) -> None:
        """Take the answers that are about this frame's cells, which must be open.

        unseen : further answers, that say nothing.
        """
        failed = result.failed
        last = self.first_id + self.count
        lost = failed[(failed >= self.first_id) & (failed < last)].tolist()
        for given, kept in ((result.scores, self.scores), (unseen, self.unseen)):
            if given is None:
                continue
            rows = (given.ids >= self.first_id) & (given.ids < last)
            if rows.any():
                kept.append(rows_of(given, rows))
                self._open.difference_update(given.ids[rows].tolist())
        self.failed.update(lost)
        self._open.difference_update(lost)

    def give_up(self) -> int:
        """Count the open cells as given up, because time is up; gives how many they were."""
        return self._close(self.given_up)

    def leave_out(self) -> int:
        """Count the open cells as left out on purpose; gives how many they were."""
        return self._close(self.left_out)

    def _close(self, fate: set[int]) -> int:
        fate |= self._open
        closed = len(self._open)
        self._open.clear()
        return closed

    def strata(self, roles: Sequence[RoleSpec], *, unseen: bool = False) -> list[Stratum]:
        """Give what is known of the cells looked at first, and of the rest.

        unseen : also answers that say nothing count as scores.
        """
        answers = [*self.scores, *self.unseen] if unseen else self.scores
        scored = [set(scores.ids.tolist()) for scores in answers]
        strata = []
        for rows in (self.order.first, self.order.rest):
            cells = {self.first_id + row for row in rows.tolist()}
            state = empty(roles)
            for scores, ids in zip(answers, scored, strict=True):
                if ids & cells:
                    inside = np.isin(scores.ids, list(cells))
                    state = merge(state, counted(roles, "vote", rows_of(scores, inside)))
            answered = state.cells + len(self.failed & cells)
            strata.append(
                Stratum(len(cells) - answered, state.cells, state.positive, state.suspicious)
            )
        return strata

    def described(self) -> FrameDescriptor:
        """Say what the frame looks like to the networks; a cell must have an answer."""
        features = np.concatenate([scores.features for scores in (*self.scores, *self.unseen)])
        if self.descriptor is None:
            prepared = self.prepared
            self.descriptor = describe_frame(
                prepared.judged,
                prepared.detections,
                features,
                prepared.sharpness,
                single_cell=prepared.single_cell,
            )
        else:
            self.descriptor = self.descriptor.with_features(features)
        return self.descriptor

    def look(self, roles: Sequence[RoleSpec]) -> Look:
        """Give what is known of the frame now, for `edgeapl.stages.sequential`."""
        answers = self._entered_answers(roles)
        positive, scored = answers == 1, answers[-1] >= 0
        rest = self.order.rest
        gaps = np.flatnonzero(~scored[rest])
        drawn = rest[: gaps[0]] if len(gaps) else rest
        return Look(
            seen=self.count,
            scored=int(scored.sum()),
            positive=tuple(positive.sum(axis=1).tolist()),
            rest=len(rest),
            rest_scored=int(scored[rest].sum()),
            rest_positive=tuple(positive[:, rest].sum(axis=1).tolist()),
            drawn=len(drawn),
            drawn_positive=tuple(positive[:, drawn].sum(axis=1).tolist()),
        )

    def _entered_answers(self, roles: Sequence[RoleSpec]) -> NDArray[np.int8]:
        """Enter what came in since the last time: int8 (R + 1, N), -1 where there is no answer."""
        if self._answers is None:
            self._answers = np.full((len(roles) + 1, self.count), -1, dtype=np.int8)
        for scores in self.scores[self._entered :]:
            self._answers[:, scores.ids - self.first_id] = reached(roles, scores)
        self._entered = len(self.scores)
        return self._answers
