"""Add up the scores of single cells, in any order and any split into batches.

A state is a frozen value. Counts are integers, the maximum is exact, and features are summed as
integers of 2^-149, of which every float32 is a multiple: no sum is ever rounded. So neither the
order of the cells nor their split into batches changes a single bit.
"""

from __future__ import annotations

import heapq
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.specs import RoleSpec
from edgeapl.types import CellScores, Float32

Number = TypeVar("Number", int, float)

EVIDENCE = 20
"""Cells kept as evidence: as many as a person looks through."""

SMALLEST_EXPONENT = 149
"""2^-149 is the smallest float32 above 0 (IEEE 754 binary32)."""


@dataclass(frozen=True, slots=True)
class ReducerState:
    """What has been added up.

    cells : scored cells.
    positive : per role, cells at or above its threshold.
    suspicious : cells with at least one suspicious role positive.
    evidence : (suspicion, id) of the most suspicious cells, strongest first, ids ascending.
    maximum : largest value of each of the D features, where the reducer takes it.
    total : sum of each feature in units of 2^-149, where the reducer takes the mean.
    """

    cells: int
    positive: tuple[int, ...]
    suspicious: int
    evidence: tuple[tuple[float, int], ...] = ()
    maximum: tuple[float, ...] | None = None
    total: tuple[int, ...] | None = None

    @property
    def mean(self) -> tuple[float, ...] | None:
        """Mean of each feature: the exact mean, rounded once."""
        if self.total is None:
            return None
        return tuple(total / (self.cells << SMALLEST_EXPONENT) for total in self.total)


def empty(roles: Sequence[RoleSpec]) -> ReducerState:
    """Return the state before the first cell."""
    return ReducerState(cells=0, positive=(0,) * len(roles), suspicious=0)


def suspicion(roles: Sequence[RoleSpec], scores: CellScores) -> Float32:
    """Return how strongly each cell suggests APL: its largest suspicious probability.

    Returns float32 (N,), 0 to 1; zeros when no role is suspicious.
    """
    values = [scores.roles[role.name] for role in roles if role.suspicious]
    if not values:
        return np.zeros(len(scores), dtype=np.float32)
    return np.asarray(np.max(np.stack(values), axis=0), dtype=np.float32)


def reached(roles: Sequence[RoleSpec], scores: CellScores) -> NDArray[np.bool_]:
    """Return which of the N cells are positive in each of the R roles, and which are suspicious.

    Returns bool (R + 1, N); a cell is suspicious when a suspicious role is positive.
    """
    rows = [scores.roles[role.name] >= np.float32(role.threshold) for role in roles]
    speaking = [row for row, role in zip(rows, roles, strict=True) if role.suspicious]
    suspicious = np.any(speaking, axis=0) if speaking else np.zeros(len(scores), dtype=bool)
    return np.stack([*rows, suspicious])


def counted(roles: Sequence[RoleSpec], kind: str, scores: CellScores) -> ReducerState:
    """Return the state of some cells alone, for a reducer of this kind."""
    if not len(scores):
        return empty(roles)
    *positive, suspicious = reached(roles, scores).sum(axis=1).tolist()
    doubt = suspicion(roles, scores)
    return ReducerState(
        cells=len(scores),
        positive=tuple(positive),
        suspicious=suspicious,
        evidence=_strongest(zip(doubt.tolist(), scores.ids.tolist(), strict=True)),
        maximum=_largest(scores.features) if kind in ("max", "max-mean") else None,
        total=_exact_sums(scores.features) if kind in ("mean", "max-mean") else None,
    )


def merge(one: ReducerState, other: ReducerState) -> ReducerState:
    """Return the state of the cells of both; merging is associative and commutative."""
    if not one.cells or not other.cells:
        return one if one.cells else other
    return ReducerState(
        cells=one.cells + other.cells,
        positive=tuple(a + b for a, b in zip(one.positive, other.positive, strict=True)),
        suspicious=one.suspicious + other.suspicious,
        evidence=_strongest([*one.evidence, *other.evidence]),
        maximum=_pairwise(max, one.maximum, other.maximum),
        total=_pairwise(operator.add, one.total, other.total),
    )


def _pairwise(
    join: Callable[[Number, Number], Number],
    one: tuple[Number, ...] | None,
    other: tuple[Number, ...] | None,
) -> tuple[Number, ...] | None:
    if one is None or other is None:
        return None
    return tuple(join(a, b) for a, b in zip(one, other, strict=True))


def _strongest(cells: Iterable[tuple[float, int]]) -> tuple[tuple[float, int], ...]:
    suspected = [cell for cell in cells if cell[0] > 0]
    return tuple(heapq.nsmallest(EVIDENCE, suspected, key=lambda cell: (-cell[0], cell[1])))


def _largest(features: Float32) -> tuple[float, ...]:
    # Adding 0.0 makes -0.0 into 0.0: which of the two is the larger depends on their order.
    return tuple((features.max(axis=0) + np.float32(0)).tolist())


def _exact_sums(features: Float32) -> tuple[int, ...]:
    """Sum every column, in units of 2^-149; scaling by a power of two is exact in float64."""
    units = np.ldexp(features.astype(np.float64), SMALLEST_EXPONENT)
    return tuple(sum(map(int, column)) for column in units.T.tolist())
