"""A cell that is shown in several views counts as several images, and has one answer: their mean.

Networks see views, numbered one after another; callers see cells. With one view both are the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from edgeapl.inference.routing import Answer, answered
from edgeapl.types import Int64

Answers = Mapping[str, Answer | None]
"""Network to its answer; None where it was not shown the image."""


class CellViews:
    """Numbers the views of cells.

    Parameters
    ----------
    count : views of a cell, 1 or more.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def of(self, cells: Int64) -> Int64:
        """Return the views of cells, int64 (N * count,), all of the first cell first."""
        return (cells[:, None] * self.count + np.arange(self.count)).ravel()

    def beside(self, view: int) -> range:
        """Return all views of the cell that a view shows."""
        first = self.cell(view) * self.count
        return range(first, first + self.count)

    def cell(self, view: int) -> int:
        """Return the cell that a view shows."""
        return view // self.count

    def cells(self, views: Iterable[int]) -> list[int]:
        """Return the cells that views show, each once."""
        return list(dict.fromkeys(map(self.cell, views)))

    def take_complete(self, done: dict[int, Answers]) -> dict[int, Answers]:
        """Take the answers of those cells out of `done` that all views have answers of."""
        if self.count == 1:
            complete, rest = dict(done), {}
        else:
            found: defaultdict[int, list[Answers]] = defaultdict(list)
            for view, answers in done.items():
                found[self.cell(view)].append(answers)
            complete = {
                cell: mean_answers(each) for cell, each in found.items() if len(each) == self.count
            }
            rest = {view: one for view, one in done.items() if self.cell(view) not in complete}
        done.clear()
        done.update(rest)
        return complete


def mean_answers(answers: Sequence[Answers]) -> Answers:
    """Return the mean over the views of a cell.

    A view that a network was not shown, as another put it in a class that it does not see, counts
    0, as such a cell does. A network that saw no view saw no cell.
    """
    return {network: _mean([one[network] for one in answers]) for network in answers[0]}


def _mean(answers: Sequence[Answer | None]) -> Answer | None:
    shown = [answer for answer in answers if answer is not None]
    if not shown:
        return None
    return {
        name: np.asarray(
            np.sum([answered(one)[name] for one in shown], axis=0, dtype=np.float64) / len(answers),
            np.float32,
        )
        for name in shown[0]
    }
