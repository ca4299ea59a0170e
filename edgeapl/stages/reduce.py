"""From the scores of single cells to one answer for the slide."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.specs import ReducerSpec, RoleSpec
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.protocols import Engine
from edgeapl.stages.accumulate import ReducerState, counted, empty, merge, suspicion
from edgeapl.stages.cascade import Cascade
from edgeapl.stages.cell_order import Shares
from edgeapl.stages.findings import Code, Effect, Finding
from edgeapl.stages.head import are_probabilities, ask_head, ask_head_rows, check_monotone
from edgeapl.stages.intervals import wilson, wilson_with_lost
from edgeapl.types import CellScores, Interval, RoleCount, Tally

__all__ = ["Reduced", "Reducer", "ReducerState", "suspicion"]

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reduced:
    """The answer before it is judged.

    probability : of APL, 0 to 1, or None when there is none.
    interval : of the probability, lost cells counted either way; None where the reducer has none.
    counts : per role.
    suspicious : scored cells with at least one suspicious role positive.
    suspicious_share : their estimated share among all cells, 0 to 1; where every cell was examined
        it is their share among the scored ones.
    suspicious_roles : names of the roles that speak for APL.
    lost_bounded : whether the interval allows for every lost cell; where not, a lost cell may have
        been the one that mattered.
    evidence : ids of the most suspicious cells, strongest first.
    voted : whether the probability is the share of suspicious cells.
    answers : what the bundle is asked; see `edgeapl.bundle.manifest.Manifest`.
    otherwise : scored cells that a student may have answered otherwise than the networks behind it;
        0 without one.
    """

    probability: float | None
    interval: Interval | None
    counts: tuple[RoleCount, ...]
    suspicious: int
    suspicious_share: float
    suspicious_roles: tuple[str, ...]
    lost_bounded: bool
    evidence: tuple[int, ...]
    voted: bool = False
    answers: str = "apl"
    otherwise: int = 0

    def __post_init__(self) -> None:
        if self.probability is not None and not 0 <= self.probability <= 1:  # NaN fails both
            raise ValueError(f"Reduced.probability: expected 0 to 1, got {self.probability}")


class Reducer:
    """Adds up cells and runs the head, as the bundle says.

    Parameters
    ----------
    roles, spec : of the bundle's manifest; the order of the roles is that of the head's ratios.
    answers : what the bundle is asked, from there too.
    cascade : a student that answers first; bounds allow for its error.
    """

    def __init__(
        self,
        roles: Sequence[RoleSpec],
        spec: ReducerSpec,
        answers: str = "apl",
        cascade: Cascade | None = None,
    ) -> None:
        self._answers = answers
        self._roles = tuple(roles)
        self._spec = spec
        self._cascade = cascade

    @classmethod
    def of(cls, manifest: Manifest) -> Reducer:
        """Return the reducer of a bundle."""
        cascade = Cascade.of(manifest)
        return cls(manifest.roles, manifest.reducer, manifest.answers, cascade)

    def otherwise(self, cells: int) -> int:
        """Return how many of so many cells a student may have answered otherwise; 0 without one."""
        return 0 if self._cascade is None else self._cascade.otherwise(cells)

    def empty(self) -> ReducerState:
        """Return the state before the first cell."""
        return empty(self._roles)

    def add(self, state: ReducerState, scores: CellScores) -> ReducerState:
        """Add some cells; the order of the calls changes nothing."""
        return merge(state, counted(self._roles, self._spec.kind, scores))

    def merge(self, one: ReducerState, other: ReducerState) -> ReducerState:
        """Return the state of the cells of both."""
        return merge(one, other)

    def check_head(self, head: Engine | None) -> None:
        """Raise EngineError when the head's answers could not be bounded; see `check_monotone`."""
        if self._spec.kind == "ratio":
            assert head is not None
            check_monotone(head, self._spec.head_outputs, [role.name for role in self._roles])

    def probabilities(self, state: ReducerState, head: Engine | None) -> Float64:
        """Return the head's probabilities, float64 (outputs,); for a vote the one share.

        The slide's probability is the smallest of them. At least one cell must have been added.
        Raises EngineError when the head fails or gives anything but probabilities.
        """
        given = self._given(state, head, _plain_shares(state))
        if not are_probabilities(given):
            raise EngineError(
                "head gave no probability", str(given.tolist()), "check the bundle's networks"
            )
        return given

    def own_scores(self, scores: CellScores, head: Engine | None) -> Float64:
        """Return the head's answer to each cell alone, float64 (N,), 0 to 1; features are pooled.

        Raises EngineError when the head fails or gives anything but probabilities.
        """
        assert head is not None
        features = scores.features
        rows = np.concatenate([features, features], axis=1)
        rows = rows if self._spec.kind == "max-mean" else features
        own = ask_head_rows(head, self._spec.head_outputs, rows).min(axis=1)
        if not are_probabilities(own):
            raise EngineError("head gave no probability", "a cell alone", "check the networks")
        return np.asarray(own)

    @property
    def bounded(self) -> bool:
        """Whether bounds of the shares bound the answer; not so where features are pooled."""
        return not self._spec.pools

    def reaches(self, head: Engine | None, shares: Sequence[Interval], least: float) -> bool:
        """Tell whether the probability is at least this much wherever in their bounds shares lie.

        Parameters
        ----------
        shares : bounds for the roles in order, then for suspicious cells.

        Raises EngineError when the head fails; ValueError when the answer is not `bounded`.
        """
        if not self.bounded:
            raise ValueError(f"reaches: a {self._spec.kind} head has no bounds")
        *roles, suspicious = shares
        if self._spec.kind == "vote":
            return suspicious.low >= least
        corners = itertools.product(*[{side.low, side.high} for side in roles])
        # NaN is not at least anything.
        return all(bool((self._ask(head, corner) >= least).all()) for corner in corners)

    def reduce(
        self,
        state: ReducerState,
        head: Engine | None,
        tally: Tally,
        confidence: float,
        estimated: Shares | None = None,
    ) -> tuple[Reduced, tuple[Finding, ...]]:
        """Return the slide's answer, and a finding when the head's answer is invalid.

        Parameters
        ----------
        state : the scored cells; as many as the tally says.
        head : the network that judges the slide; None for a vote.
        tally : what became of every cell.
        confidence : level of the intervals.
        estimated : of `edgeapl.stages.cell_order`, when not all cells were examined; without it the
            shares among the scored cells stand for all.

        Raises ValueError when state and tally are not about the same cells.
        """
        if tally.scored != state.cells:
            raise ValueError(f"reduce: tally has {tally.scored} scored cells, state {state.cells}")
        shares = estimated or _plain_shares(state)
        answer = Reduced(
            probability=None,
            interval=None,
            counts=self._counts(state, confidence),
            suspicious=state.suspicious,
            suspicious_share=shares.suspicious,
            suspicious_roles=tuple(role.name for role in self._roles if role.suspicious),
            lost_bounded=self.bounded,
            evidence=tuple(cell for _, cell in state.evidence),
            voted=self._spec.kind == "vote",
            answers=self._answers,
            otherwise=self.otherwise(state.cells),
        )
        if not state.cells or (self._spec.kind == "vote" and not answer.suspicious_roles):
            return answer, ()
        try:
            given = self._given(state, head, shares)
            corners = self._corners(state, head, tally, confidence, given, shares)
        except (DeadlineError, EngineError) as error:
            return answer, (Finding(Code.HEAD_FAILED, str(error), Effect.UNTRUSTED),)
        if not are_probabilities(np.concatenate([given, *corners])):
            text = "the head network gave something that is no probability, so no answer counts"
            return answer, (Finding(Code.NON_FINITE, text, Effect.UNTRUSTED),)
        probability = float(given.min())
        interval = self._interval(state, tally, confidence, corners, shares)
        return replace(answer, probability=probability, interval=interval), ()

    def _interval(
        self,
        state: ReducerState,
        tally: Tally,
        confidence: float,
        corners: Sequence[Float64],
        shares: Shares,
    ) -> Interval | None:
        """Bound the probability, given the head's answers at the corners of the box of ratios.

        Each head output moves one way with each ratio, so its extremes over the box lie at
        corners. The smallest output is never above any one output, so the smallest of their upper
        bounds bounds it; its lower bound is the smallest of theirs.
        """
        if self._spec.kind == "vote":
            otherwise = self.otherwise(state.cells)
            return _side(state.suspicious, shares.suspicious, shares, tally, confidence, otherwise)
        if not corners:
            return None
        answers = np.stack(corners)
        return Interval(float(answers.min()), float(answers.max(axis=0).min()))

    def _corners(
        self,
        state: ReducerState,
        head: Engine | None,
        tally: Tally,
        confidence: float,
        given: Float64,
        shares: Shares,
    ) -> list[Float64]:
        """Ask the head at all corners of the box of ratios; what it gave at the ratios is added.

        The box only grows when a cell is lost: each side's lower end counts the lost cells as
        negative, its upper end as positive. A larger box has a larger maximum, so losing cells
        never lowers the interval's upper end, and CLEAR needs that end to be low.
        """
        if self._spec.kind != "ratio":
            return []
        otherwise = self.otherwise(state.cells)
        sides = [
            _side(positive, share, shares, tally, confidence, otherwise)
            for positive, share in zip(state.positive, shares.positive, strict=True)
        ]
        corners = itertools.product(*[(side.low, side.high) for side in sides])
        return [*(self._ask(head, corner) for corner in corners), given]

    def _given(self, state: ReducerState, head: Engine | None, shares: Shares) -> Float64:
        if not state.cells:
            raise ValueError("probabilities: no cell was added")
        if self._spec.kind == "vote":
            return np.array([shares.suspicious])
        if self._spec.kind == "ratio":
            return self._ask(head, shares.positive)
        return self._ask(head, [*(state.maximum or ()), *(state.mean or ())])

    def _counts(self, state: ReducerState, confidence: float) -> tuple[RoleCount, ...]:
        otherwise = self.otherwise(state.cells)
        return tuple(
            RoleCount(
                role=role.name,
                positive=positive,
                scored=state.cells,
                share=positive / state.cells if state.cells else 0.0,
                interval=wilson_with_lost(positive, 0, state.cells, confidence, otherwise),
            )
            for role, positive in zip(self._roles, state.positive, strict=True)
        )

    def _ask(self, head: Engine | None, values: Iterable[float]) -> Float64:
        assert head is not None  # the manifest requires one, except for a vote
        return ask_head(head, self._spec.head_outputs, values)


def _side(
    positive: int,
    share: float,
    shares: Shares,
    tally: Tally,
    confidence: float,
    otherwise: int,
) -> Interval:
    """Bound one share.

    Cells left out on purpose were so at random, and never bring CLEAR, so the scored ones speak for
    them. As soon as any cell was lost, each cell without a score may be either. So may those that a
    student answered otherwise than the networks behind it.
    """
    if tally.not_needed and not tally.lost:
        cells, wrong = shares.effective, otherwise / tally.scored
        low = wilson(max(0.0, share - wrong) * cells, cells, confidence).low
        return Interval(low, wilson(min(1.0, share + wrong) * cells, cells, confidence).high)
    return wilson_with_lost(positive, tally.unscored, tally.seen, confidence, otherwise)


def _plain_shares(state: ReducerState) -> Shares:
    cells = max(1, state.cells)
    positive = tuple(positive / cells for positive in state.positive)
    return Shares(positive, state.suspicious / cells, state.cells)
