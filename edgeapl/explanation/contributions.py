"""Traces the pooled features of a slide back to the cells they came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeapl.bundle.specs import ExplanationSpec
from edgeapl.explanation.network_queries import head_probabilities
from edgeapl.model import Model
from edgeapl.report.explanation import ExplainedPicture, Explanation
from edgeapl.report.pictures import cell_picture, jpeg_bytes
from edgeapl.stages.reasons import limits_of
from edgeapl.types import CellStatus, ExaminedFrame, Float32, Int64
from edgeapl.wording.numbers import number

MOST_CELLS = 24
NOBODY = -1


@dataclass(frozen=True, slots=True, eq=False)
class TopTwo:
    """The largest and second largest value of each of D features, and the cells with the largest.

    largest, second : float32 (D,). winner : int64 (D,), number of the cell.
    """

    largest: Float32
    second: Float32
    winner: Int64

    def without(self, cell: int) -> Float32:
        """Return what the pooled features would be without one cell, float32 (D,)."""
        return np.where(self.winner == cell, self.second, self.largest)

    def wins(self) -> dict[int, int]:
        """Count the features that each cell alone decides; a tie decides nothing."""
        alone = self.winner[self.largest > self.second]
        cells, counts = np.unique(alone, return_counts=True)
        return dict(zip(cells.tolist(), counts.tolist(), strict=True))


def empty_top_two(width: int) -> TopTwo:
    """Return the state before the first cell."""
    lowest = np.full(width, -np.inf, dtype=np.float32)
    return TopTwo(lowest, lowest, np.full(width, NOBODY, dtype=np.int64))


def updated_top_two(state: TopTwo, ids: Int64, features: Float32) -> TopTwo:
    """Return the state after more cells.

    Parameters
    ----------
    ids : int64 (N,), ascending and above all earlier ones. features : float32 (N, D), finite.
    """
    values = np.vstack([state.largest[None], state.second[None], features])
    columns = np.arange(values.shape[1])
    first = values.argmax(axis=0)  # the earliest of equal values
    owners = np.vstack(
        [
            state.winner[None],
            np.full((1, len(columns)), NOBODY),
            np.repeat(ids[:, None], len(columns), 1),
        ]
    )
    largest = values[first, columns].copy()
    values[first, columns] = -np.inf
    return TopTwo(largest, values.max(axis=0), owners[first, columns])


class ContributionsExplainer:
    """Ranks cells by their own score, and says what each contributed to the pooled features.

    For a `max` reducer: a feature's winner is the cell with its largest value, and a cell's worth
    is how much the slide's probability falls (or rises) without the cell.
    """

    def __init__(self, model: Model, spec: ExplanationSpec, *, crops: bool) -> None:
        self._model = model
        self._spec = spec
        self.title = spec.title
        self._crops = crops
        self._state: TopTwo | None = None
        self._scores: dict[int, float] = {}
        self._pictures: dict[int, bytes] = {}
        self._frames: dict[int, int] = {}

    def add(self, examined: ExaminedFrame) -> None:
        """Pool the frame's cells, and keep pictures of winners and of the best-scoring ones."""
        rows = np.array(
            [row for row, s in enumerate(examined.status) if s is CellStatus.SCORED], dtype=np.int64
        )
        if not len(rows):
            return
        features = examined.features[rows]
        before = self._state or empty_top_two(features.shape[1])
        self._state = updated_top_two(before, examined.ids[rows], features)
        for row in rows.tolist():
            cell = int(examined.ids[row])
            self._scores[cell] = float(examined.suspicion[row])
            self._frames[cell] = examined.frame.index
        # Later cells may take over features, so any winner may still be shown.
        wanted = {*self._state.wins(), *self._best_alone()}
        for row in rows.tolist():
            if int(examined.ids[row]) in wanted:
                box = examined.detections.boxes[row]
                picture = cell_picture(examined.frame, box, crops=self._crops)
                self._pictures[int(examined.ids[row])] = jpeg_bytes(picture)
        self._pictures = {cell: jpeg for cell, jpeg in self._pictures.items() if cell in wanted}

    def _ranked(self) -> list[int]:
        """Return the cells to show by score: half for their own score, half for their wins."""
        assert self._state is not None
        wins = self._state.wins()
        by_wins = sorted(wins, key=lambda cell: (-wins[cell], cell))
        chosen = list(dict.fromkeys([*self._best_alone(), *by_wins]))[:MOST_CELLS]
        return sorted(chosen, key=lambda cell: (-self._scores[cell], cell))

    def _best_alone(self) -> list[int]:
        ranked = sorted(self._scores, key=lambda cell: (-self._scores[cell], cell))
        return ranked[: MOST_CELLS // 2]

    def explain(self) -> Explanation:
        """Ask the head for the slide's probability without each of the cells."""
        if self._state is None:
            return Explanation(self.title, "No cell was scored, so there is nothing to show.")
        cells = self._ranked()
        whole = head_probabilities(self._model, self._state.largest[None])[0]
        without = head_probabilities(
            self._model, np.stack([self._state.without(cell) for cell in cells])
        )
        wins = self._state.wins()
        count = len(self._state.largest)
        rule = self._model.bundle.manifest.rule
        shown = number(whole, limits_of(rule).of_probability)
        pictures = tuple(
            ExplainedPicture(
                f"cell {cell}, frame {self._frames[cell]}: alone {self._scores[cell]:.3f}; decides "
                f"{wins.get(cell, 0)} of {count} features; without it {left:.3f} "
                f"({left - whole:+.3f})",
                self._pictures[cell],
            )
            for cell, left in zip(cells, without.tolist(), strict=True)
        )
        caption = (
            f"The cells give the slide a probability of {shown}. It comes from the largest value "
            f"of each of {count} features over {len(self._scores)} cells. Cells are ranked by the "
            "score that each would get alone; below each stands how many features it alone "
            "decides, and the slide's probability if that cell had not been there. Not every cell "
            "is shown."
        )
        return Explanation(self.title, caption, pictures)
