"""Parts of a slide on their own, where features are pooled: so that many cells cannot hide a few.

The mean of the features, and with it the answer, is thinned by every cell that is added. So a slide
is cleared only when two kinds of parts would not be flagged either: the k cells that look most like
APL to the head when each is shown to it alone, and the frames one by one (those with fewer than k
cells together with the next).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgeapl.bundle.specs import RuleSpec
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.protocols import Engine
from edgeapl.stages.findings import Code, Effect, Finding
from edgeapl.stages.reduce import Reducer, ReducerState
from edgeapl.types import CellScores
from edgeapl.wording.numbers import exact, number

MOST_WAITING = 512
"""Cells that wait for the head at most: their features are held until then."""

MOST_FRAMES = 32
"""Frames that wait for the head at most."""


MOST_NAMED = 12
"""Cells that a reason names."""


class SubBags:
    """Keeps the most suspicious cells of a slide and the highest answer of its frames.

    It is asked when a slide would be cleared, and before too much has come together. Each cell is
    shown to the head once, in as few runs as the head takes, each frame once, and the k cells once
    for each answer. As long as the head answers, no more is held than k cells, `MOST_WAITING` cells
    and `MOST_FRAMES` frames.

    Parameters
    ----------
    reducer, rule : of the bundle; the reducer pools.
    """

    def __init__(self, reducer: Reducer, rule: RuleSpec) -> None:
        self._reducer = reducer
        self._rule = rule
        self._waiting: list[CellScores] = []
        self._strongest: list[tuple[float, int, CellScores]] = []
        self._frames: list[ReducerState] = []
        self._open = reducer.empty()
        self._last: ReducerState | None = None
        self._highest = (0.0, 0)

    def add(self, scores: CellScores, head: Engine | None) -> None:
        """Add cells; a head that fails now is run again later."""
        if not len(scores):
            return
        self._waiting.append(scores)
        if sum(map(len, self._waiting)) >= MOST_WAITING or len(self._frames) >= MOST_FRAMES:
            try:
                self._rank(head)
                self._hear(head)
            except (DeadlineError, EngineError):
                return

    def close_frame(self, scores: Sequence[CellScores]) -> None:
        """Take a finished frame, all of whose cells were added."""
        self._open = self._with(self._open, scores)
        if self._open.cells >= self._rule.most_suspicious:
            self._frames.append(self._open)
            self._last, self._open = self._open, self._reducer.empty()

    def judge(
        self, head: Engine | None, unfinished: Sequence[Sequence[CellScores]] = ()
    ) -> tuple[Finding, ...]:
        """Return a finding for every part that would be flagged on its own; these bar CLEAR.

        unfinished : cells of frames that are not closed yet.
        """
        try:
            return (*self._of_cells(head), *self._of_frames(head, unfinished))
        except (DeadlineError, EngineError) as error:
            text = f"parts of the slide could not be judged on their own: {error}"
            return (Finding(Code.PARTS_UNKNOWN, text, Effect.BARS_CLEAR),)

    def _of_cells(self, head: Engine | None) -> list[Finding]:
        self._rank(head)
        if not self._strongest:
            return []
        state = self._with(self._reducer.empty(), [cell for _, _, cell in self._strongest])
        probability = float(self._reducer.probabilities(state, head).min())
        if probability < self._rule.flag_at:
            return []
        text = (
            f"the {state.cells} most suspicious cells alone ({self._named()}) give a probability "
            f"of APL of {self._words(probability)}"
        )
        return [Finding(Code.SUSPICIOUS_CELLS, text, Effect.BARS_CLEAR)]

    def _of_frames(
        self, head: Engine | None, unfinished: Sequence[Sequence[CellScores]]
    ) -> list[Finding]:
        self._hear(head)
        rest = self._open
        for scores in unfinished:
            rest = self._with(rest, scores)
        # Too few cells for a part of their own go with those before them.
        if self._last is not None and rest.cells < self._rule.most_suspicious:
            rest = self._reducer.merge(self._last, rest)
        highest = self._highest
        if rest.cells >= self._rule.most_suspicious:
            highest = max(highest, self._answer(rest, head))
        if highest[0] < self._rule.flag_at:
            return []
        text = (
            f"{highest[1]} cells of one part of the slide alone give a probability of APL of "
            f"{self._words(highest[0])}"
        )
        return [Finding(Code.SUSPICIOUS_PART, text, Effect.BARS_CLEAR)]

    def _named(self) -> str:
        """Name the cells, so that a person can look at them."""
        numbers = [str(cell) for _, cell, _ in self._strongest[:MOST_NAMED]]
        more = len(self._strongest) - len(numbers)
        return f"numbers {', '.join(numbers)}" + (f" and {more} more" if more else "")

    def _words(self, probability: float) -> str:
        at = self._rule.flag_at
        return f"{number(probability, [at])}, which reaches the flag threshold {exact(at)}"

    def _hear(self, head: Engine | None) -> None:
        """Show the frames that wait to the head."""
        while self._frames:
            self._highest = max(self._highest, self._answer(self._frames[-1], head))
            self._frames.pop()

    def _answer(self, state: ReducerState, head: Engine | None) -> tuple[float, int]:
        return float(self._reducer.probabilities(state, head).min()), state.cells

    def _with(self, state: ReducerState, scores: Sequence[CellScores]) -> ReducerState:
        for some in scores:
            state = self._reducer.add(state, some)
        return state

    def _rank(self, head: Engine | None) -> None:
        """Show the cells that wait to the head, and keep the most suspicious of all."""
        while self._waiting:
            scores = self._waiting[-1]
            own = self._reducer.own_scores(scores, head)
            self._waiting.pop()
            ranked = [
                (-float(own[row]), int(scores.ids[row]), _row(scores, row))
                for row in np.argsort(-own, kind="stable")[: self._rule.most_suspicious].tolist()
            ]
            everyone = sorted([*self._strongest, *ranked], key=lambda cell: cell[:2])
            self._strongest = everyone[: self._rule.most_suspicious]


def _row(scores: CellScores, row: int) -> CellScores:
    """Return one cell, copied, so that its batch is not held."""
    roles = {name: values[row : row + 1].copy() for name, values in scores.roles.items()}
    return replace(
        scores,
        ids=scores.ids[row : row + 1].copy(),
        roles=roles,
        features=scores.features[row : row + 1].copy(),
    )
