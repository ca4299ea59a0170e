"""From the scores of single cells to one answer for the slide, cell by cell, in any order.

State is a frozen value. Counts are integers, the maximum is exact and sums are kept as exact
fractions of the float32 features, so neither the order of the cells nor their split into batches
changes a single bit.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.manifest import ReducerSpec, RoleSpec
from edgeapl.errors import EngineError
from edgeapl.protocols import Engine
from edgeapl.stages.findings import Effect, Finding
from edgeapl.stages.intervals import wilson
from edgeapl.types import CellScores, Float32, Interval, RoleCount, Tally

EVIDENCE = 20
"""Cells kept as evidence: as many as a person looks through."""

SUM_SCALE = 2.0**40
"""Features are summed as integers of this fraction: float32 of 2^-17 and more are exact, and int64
holds 8 million cells whose features stay below 1."""

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ReducerState:
    """What has been added up.

    cells : scored cells. positive : per role, cells at or above its threshold.
    suspicious : cells with at least one suspicious role positive.
    evidence : (suspicion, id) of the most suspicious cells, strongest first.
    maximum : float32 (D,) largest value of each feature; total : object (D,) exact integer sums.
    """

    cells: int
    positive: tuple[int, ...]
    suspicious: int
    evidence: tuple[tuple[float, int], ...]
    maximum: Float32 | None = None
    total: NDArray[np.object_] | None = None


@dataclass(frozen=True, slots=True)
class Reduced:
    """The answer before it is judged.

    probability : of APL, or None. interval : of the probability, or None.
    counts : per role. suspicious : suspicious cells among the scored ones.
    lost_bounded : whether the interval already counts lost cells as if they were suspicious.
    evidence : ids of the most suspicious cells.
    """

    probability: float | None
    interval: Interval | None
    counts: tuple[RoleCount, ...]
    suspicious: int
    lost_bounded: bool
    evidence: tuple[int, ...]


def suspicion(roles: Sequence[RoleSpec], scores: CellScores) -> Float32:
    """Give how strongly each cell speaks for APL: its largest suspicious probability.

    Returns float32 (N,), 0 to 1; zeros when no role is suspicious.
    """
    values = [scores.roles[role.name] for role in roles if role.suspicious]
    if not values:
        return np.zeros(len(scores), dtype=np.float32)
    return np.max(np.stack(values), axis=0).astype(np.float32)


class Reducer:
    """Adds cells up as the bundle says.

    Parameters
    ----------
    roles, spec : of the bundle's manifest; the order of the roles is that of the head's ratios.
    """

    def __init__(self, roles: Sequence[RoleSpec], spec: ReducerSpec) -> None:
        self._roles = tuple(roles)
        self._spec = spec

    def empty(self) -> ReducerState:
        """Give the state before the first cell."""
        return ReducerState(0, (0,) * len(self._roles), 0, ())

    def add(self, state: ReducerState, scores: CellScores) -> ReducerState:
        """Add some cells."""
        if not len(scores):
            return state
        reached = np.stack(
            [scores.roles[role.name] >= np.float32(role.threshold) for role in self._roles]
        )
        speaks = np.array([role.suspicious for role in self._roles], dtype=bool)
        doubt = suspicion(self._roles, scores)
        strongest = heapq.nsmallest(
            EVIDENCE,
            [
                *((-value, cell) for value, cell in state.evidence),
                *zip((-doubt).tolist(), scores.ids.tolist(), strict=True),
            ],
        )
        state = replace(
            state,
            cells=state.cells + len(scores),
            positive=tuple(
                had + int(now) for had, now in zip(state.positive, reached.sum(axis=1), strict=True)
            ),
            suspicious=state.suspicious + int(reached[speaks].any(axis=0).sum()),
            evidence=tuple((-value, cell) for value, cell in strongest if value < 0),
        )
        if self._spec.kind == "max":
            highest = scores.features.max(axis=0)
            before = state.maximum
            return replace(
                state, maximum=highest if before is None else np.maximum(before, highest)
            )
        if self._spec.kind == "mean":
            added = _exact_sum(scores.features)
            return replace(state, total=added if state.total is None else state.total + added)
        return state

    def probabilities(self, state: ReducerState, head: Engine | None) -> Float64:
        """Give the head's probabilities, float64 (outputs,); for a vote the one share.

        Raises EngineError when the head fails or gives anything but probabilities.
        """
        if self._spec.kind == "vote":
            return np.array([state.suspicious / state.cells])
        if self._spec.kind == "ratio":
            ratios = np.array(state.positive, dtype=np.float64) / state.cells
            return self._ask(head, ratios.astype(np.float32))
        if self._spec.kind == "max":
            assert state.maximum is not None
            return self._ask(head, state.maximum)
        assert state.total is not None
        mean = np.array([int(value) / SUM_SCALE / state.cells for value in state.total])
        return self._ask(head, mean.astype(np.float32))

    def reduce(
        self, state: ReducerState, head: Engine | None, tally: Tally, confidence: float
    ) -> tuple[Reduced, tuple[Finding, ...]]:
        """Give the slide's answer, and a finding when the head can not be believed.

        The probability of the `ratio` reducer rises or falls with each ratio alone (the head is
        monotone in each), so its range over a box of ratios is found at the box's corners. The
        box reaches from the lower bound of the positive share to the upper bound of the share in
        which every lost cell is counted as positive: losing a cell only ever widens the box.
        """
        counts = self._counts(state, confidence)
        evidence = tuple(cell for _, cell in state.evidence)
        bounded = self._spec.kind in ("ratio", "vote")
        answer = Reduced(None, None, counts, state.suspicious, bounded, evidence)
        if state.cells == 0:
            return answer, ()
        try:
            probability = float(self.probabilities(state, head).min())
            interval = self._interval(state, head, tally, confidence)
        except EngineError as error:
            return answer, (Finding("head_failed", str(error), Effect.UNTRUSTED),)
        if interval is not None:
            low, high = min(interval.low, probability), max(interval.high, probability)
            interval = Interval(low, high)
        return replace(answer, probability=probability, interval=interval), ()

    def _interval(
        self, state: ReducerState, head: Engine | None, tally: Tally, confidence: float
    ) -> Interval | None:
        if self._spec.kind == "vote":
            low = wilson(state.suspicious, tally.seen, confidence).low
            return Interval(low, wilson(state.suspicious + tally.lost, tally.seen, confidence).high)
        if self._spec.kind != "ratio":
            return None
        sides = [
            (
                wilson(positive, tally.seen, confidence).low,
                wilson(positive + tally.lost, tally.seen, confidence).high,
            )
            for positive in state.positive
        ]
        answers = np.array(
            [
                self._ask(head, np.array(corner, dtype=np.float32)).min()
                for corner in itertools.product(*sides)
            ]
        )
        return Interval(float(answers.min()), float(answers.max()))

    def _counts(self, state: ReducerState, confidence: float) -> tuple[RoleCount, ...]:
        return tuple(
            RoleCount(
                role=role.name,
                positive=positive,
                scored=state.cells,
                share=positive / state.cells if state.cells else 0.0,
                interval=wilson(positive, state.cells, confidence),
            )
            for role, positive in zip(self._roles, state.positive, strict=True)
        )

    def _ask(self, head: Engine | None, values: Float32) -> Float64:
        assert head is not None
        (name,) = head.inputs
        answers = head.run({name: np.ascontiguousarray(values[None])})
        missing = [output for output in self._spec.head_outputs if output not in answers]
        if missing:
            raise EngineError("head has no such output", ", ".join(missing), "export it again")
        given = np.array(
            [
                float(np.asarray(answers[output]).reshape(-1)[0])
                for output in self._spec.head_outputs
            ]
        )
        if not bool(((given >= 0) & (given <= 1)).all()):
            raise EngineError(
                "head gave no probability", str(given.tolist()), "check the bundle's networks"
            )
        return given


def _exact_sum(features: Float32) -> NDArray[np.object_]:
    """Sum of every column, as Python integers of 1 / SUM_SCALE."""
    scaled = np.rint(features.astype(np.float64) * SUM_SCALE)
    return np.array([sum(map(int, column)) for column in scaled.T], dtype=object)
