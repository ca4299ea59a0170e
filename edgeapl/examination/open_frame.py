"""A frame with cells that have no answer yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.specs import RoleSpec
from edgeapl.errors import EdgeAplError
from edgeapl.examination.answered_frame import AnsweredFrame
from edgeapl.examination.preparation import PreparedFrame
from edgeapl.inference import InferenceResult
from edgeapl.stages.accumulate import counted, empty, merge, reached
from edgeapl.stages.cell_order import Order, Stratum
from edgeapl.stages.frame_descriptor import FrameDescriptor, describe_frame
from edgeapl.stages.sequential import InterimCounts
from edgeapl.stages.unjudged_cells import rows_of
from edgeapl.types import CellScores, Int64, Tally


@dataclass(slots=True, eq=False)
class OpenFrame:
    """A prepared frame and the answers that have come in for its cells.

    Each cell is in one place at any time: it is pending, or scored, hidden, failed, given up or
    left out.

    first_id : number of its first cell within the slide.
    order : in which its cells are examined.
    start_ns, deadline_ns : monotonic; when its time started, and when its pending cells are given
        up; None when there is no hurry.
    scores : answers. hidden_scores : answers that say nothing, because their cells lie where the
        image cannot be judged.
    given_up, left_out : numbers of cells nobody looked at: because time was up, and on purpose.
    errors : that are counted with this frame, where slides are judged frame by frame.
    examine_all : whether all cells are to be looked at, whatever the first ones say.
    descriptor : of how the frame looks, once it was needed.
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
    hidden_scores: list[CellScores] = field(default_factory=list)
    errors: list[EdgeAplError] = field(default_factory=list)
    examine_all: bool = False
    descriptor: FrameDescriptor | None = None
    _answers: NDArray[np.int8] | None = None
    _recorded: int = 0
    _pending: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self._pending = set(self.ids.tolist())

    @property
    def count(self) -> int:
        """Cells of the frame."""
        return len(self.prepared.detections)

    @property
    def done(self) -> bool:
        """Whether no cell is pending."""
        return self.pending == 0

    @property
    def pending(self) -> int:
        """Cells without an answer that may still get one."""
        return len(self._pending)

    @property
    def pending_ids(self) -> frozenset[int]:
        """Their numbers."""
        return frozenset(self._pending)

    @property
    def answered(self) -> int:
        """Cells with a usable answer, hidden ones included."""
        return sum(map(len, (*self.scores, *self.hidden_scores)))

    @property
    def answered_frame(self) -> AnsweredFrame | None:
        """The frame as it can be kept; None where that would be no whole answer.

        A cell without a score may get one the next time. Behind an eyepiece the cells that count
        are not those that were found.
        """
        prepared = self.prepared
        if prepared.rejected or prepared.disc is not None or self.answered != self.count:
            return None
        parts = [*self.scores, *self.hidden_scores]
        if not parts:
            return AnsweredFrame(prepared.detections, CellScores.none())
        return AnsweredFrame(prepared.detections, CellScores.joined(parts).shifted(-self.first_id))

    @property
    def tally(self) -> Tally:
        """What became of the frame's cells; pending ones count as left out."""
        return Tally(
            self.count,
            scored=sum(map(len, self.scores)),
            not_examined=len(self.given_up) + sum(map(len, self.hidden_scores)),
            failed=len(self.failed),
            not_needed=len(self.left_out) + self.pending,
        )

    @property
    def ids(self) -> Int64:
        """int64 (N,), numbers of the frame's cells within the slide."""
        return np.arange(self.first_id, self.first_id + self.count, dtype=np.int64)

    @property
    def held_bytes(self) -> int:
        """Memory of the frame; the cells that are cut out of it come in addition."""
        prepared = self.prepared
        evened = 0 if prepared.evened is None else prepared.evened.pixels.nbytes
        return int(prepared.frame.pixels.nbytes + evened + prepared.detections.labels.nbytes)

    @property
    def hidden(self) -> set[int]:
        """Numbers of the cells that lie where the image cannot be judged."""
        return set((self.first_id + self.prepared.hidden).tolist())

    def take(self, result: InferenceResult, hidden: CellScores | None = None) -> None:
        """Take the answers that are about this frame's cells, which must be pending.

        Parameters
        ----------
        hidden : answers about hidden cells.
        """
        failed = result.failed
        last = self.first_id + self.count
        lost = failed[(failed >= self.first_id) & (failed < last)].tolist()
        for given, kept in ((result.scores, self.scores), (hidden, self.hidden_scores)):
            if given is None:
                continue
            rows = (given.ids >= self.first_id) & (given.ids < last)
            if rows.any():
                kept.append(rows_of(given, rows))
                self._pending.difference_update(given.ids[rows].tolist())
        self.failed.update(lost)
        self._pending.difference_update(lost)

    def give_up(self) -> int:
        """Count the pending cells as given up, because time is up; return their number."""
        return self._close(self.given_up)

    def leave_out(self) -> int:
        """Count the pending cells as left out on purpose; return their number."""
        return self._close(self.left_out)

    def settle(self) -> None:
        """Put the answers in the order of their cells, which may have come in any order."""
        for parts in (self.scores, self.hidden_scores):
            if len(parts) > 1:
                parts[:] = [CellScores.joined(parts)]

    def _close(self, fate: set[int]) -> int:
        fate |= self._pending
        closed = len(self._pending)
        self._pending.clear()
        return closed

    def examined_strata(
        self, roles: Sequence[RoleSpec], *, with_hidden: bool = False
    ) -> list[Stratum]:
        """Return what is known of the cells looked at first, and of the rest.

        Without an answer about any cell of the frame there is no stratum, nor is an empty one.

        Parameters
        ----------
        with_hidden : count answers about hidden cells as scores.
        """
        answers = [*self.scores, *self.hidden_scores] if with_hidden else self.scores
        if not answers:
            return []
        strata = [
            self._stratum(roles, answers, rows) for rows in (self.order.first, self.order.rest)
        ]
        return [stratum for stratum in strata if stratum.scored + stratum.not_examined]

    def _stratum(
        self, roles: Sequence[RoleSpec], answers: Sequence[CellScores], rows: Int64
    ) -> Stratum:
        cells = {self.first_id + row for row in rows.tolist()}
        state = empty(roles)
        for scores in answers:
            if cells.isdisjoint(scores.ids.tolist()):
                continue
            inside = np.isin(scores.ids, list(cells))
            state = merge(state, counted(roles, "vote", rows_of(scores, inside)))
        answered = state.cells + len(self.failed & cells)
        return Stratum(len(cells) - answered, state.cells, state.positive, state.suspicious)

    def described(self) -> FrameDescriptor:
        """Describe how the frame looks to the networks; a cell must have an answer."""
        features = np.concatenate(
            [scores.features for scores in (*self.scores, *self.hidden_scores)]
        )
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

    def interim(self, roles: Sequence[RoleSpec]) -> InterimCounts:
        """Return what is known of the frame now, for `edgeapl.stages.sequential`."""
        answers = self._recorded_answers(roles)
        positive, scored = answers == 1, answers[-1] >= 0
        rest = self.order.rest
        gaps = np.flatnonzero(~scored[rest])
        drawn = rest[: gaps[0]] if len(gaps) else rest
        return InterimCounts(
            seen=self.count,
            scored=int(scored.sum()),
            positive=tuple(positive.sum(axis=1).tolist()),
            rest=len(rest),
            rest_scored=int(scored[rest].sum()),
            rest_positive=tuple(positive[:, rest].sum(axis=1).tolist()),
            drawn=len(drawn),
            drawn_positive=tuple(positive[:, drawn].sum(axis=1).tolist()),
        )

    def _recorded_answers(self, roles: Sequence[RoleSpec]) -> NDArray[np.int8]:
        """Record what came in since the last time: int8 (R + 1, N), -1 where there is no answer."""
        if self._answers is None:
            self._answers = np.full((len(roles) + 1, self.count), -1, dtype=np.int8)
        for scores in self.scores[self._recorded :]:
            self._answers[:, scores.ids - self.first_id] = reached(roles, scores)
        self._recorded = len(self.scores)
        return self._answers
