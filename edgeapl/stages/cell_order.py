"""The order in which cells are examined when time may run out, and what a part of them tells.

The largest cells come first: promyelocytes and blasts are the largest nucleated cells of a smear
(Bain, Blood Cells, 5th ed., ch. 8: promyelocyte 15 to 25 µm), so what raises a flag is seen early.
Where a small network has looked at all cells before, those that it finds the most suspicious do.
All others follow in random order. Each frame thus has two strata, and what was examined of a
stratum is a random part of it; the first stratum is examined whole before the second begins. The
estimate of a share is the stratified one (Cochran, Sampling Techniques, 3rd ed., eq. 5.1):

    share = sum over strata of (cells in it * share among its examined cells) / all these cells

It is unbiased once a cell of each stratum was examined; when all cells were it is the plain share.
A stratum of which nothing was examined yet counts as without positives: the early cells are the
suspicious ones, and they must not speak for the others. The intervals do not rest on it where time
ran out: they count every cell that was not examined either way. Where cells were left out on
purpose (`edgeapl.stages.sequential`), so at random, the interval is that of the estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeapl.types import Detections, Float32, Int64

FIRST = 8
"""Cells that are looked at first, at most: two processor cores with three deep networks have looked
at them, and at a few of the others, within a second."""

FIRST_SHARE = 0.25
"""Share of a frame's cells that are looked at first, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """Rows of a frame's cells. first, rest : int64; together each row once."""

    first: Int64
    rest: Int64

    @property
    def rows(self) -> Int64:
        """All rows in order."""
        return np.concatenate([self.first, self.rest])


def examination_order(detections: Detections, suspicion: Float32 | None = None) -> Order:
    """Return the order for the cells of a frame; always the same for the same frame.

    suspicion : float32 (N,), of a first look at all cells: the most suspicious come first, and of
        equally suspicious ones the largest. None to go by size alone.
    """
    count = len(detections)
    x0, y0, x1, y1 = detections.boxes.T
    size = (x1 - x0) * (y1 - y0)
    keys = (-size,) if suspicion is None else (-size, -suspicion)
    largest = np.lexsort(keys).astype(np.int64)
    first = min(FIRST, int(count * FIRST_SHARE))
    random = np.random.default_rng(int(detections.frame.digest, 16))
    return Order(largest[:first], random.permutation(np.sort(largest[first:])))


@dataclass(frozen=True, slots=True)
class Stratum:
    """Cells of one frame that were, or would be, looked at in random order.

    not_examined : cells nobody looked at. scored : cells with a usable score; positive of these
    per role, and suspicious ones. Cells that failed are in neither.
    """

    not_examined: int
    scored: int
    positive: tuple[int, ...]
    suspicious: int


@dataclass(frozen=True, slots=True)
class Shares:
    """Estimated shares, 0 to 1, of the cells that are positive in each role, and suspicious.

    effective : as many cells, drawn from all at random, would tell as much (Kish 1965, Survey
        Sampling, sec. 11.7): all of them when all were scored, 0 when a stratum has no scored cell.
    """

    positive: tuple[float, ...]
    suspicious: float
    effective: float


def estimated_shares(strata: Sequence[Stratum]) -> Shares | None:
    """Estimate the shares among all cells of the strata; None when no cell was scored.

    Frames of which nothing was examined must be left out: other frames speak for them.
    """
    if not any(stratum.scored for stratum in strata):
        return None
    cells = sum(stratum.scored + stratum.not_examined for stratum in strata)
    roles = len(strata[0].positive)
    return Shares(
        positive=tuple(
            _share(strata, [stratum.positive[role] for stratum in strata], cells)
            for role in range(roles)
        ),
        suspicious=_share(strata, [stratum.suspicious for stratum in strata], cells),
        effective=_effective(strata, cells),
    )


def _effective(strata: Sequence[Stratum], cells: int) -> float:
    parts = [(stratum.scored + stratum.not_examined, stratum.scored) for stratum in strata]
    if any(whole and not scored for whole, scored in parts):
        return 0.0
    return cells * cells / sum(whole * whole / scored for whole, scored in parts if scored)


def _share(strata: Sequence[Stratum], counted: Sequence[int], cells: int) -> float:
    """Sum counts, each scaled up to its whole stratum, as a share of all cells."""
    grown = sum(
        count * (stratum.scored + stratum.not_examined) / stratum.scored
        for stratum, count in zip(strata, counted, strict=True)
        if stratum.scored
    )
    return min(1.0, grown / cells)  # rounding must not leave the range
