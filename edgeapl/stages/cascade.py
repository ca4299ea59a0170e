"""A small network that answers first: when its answer stands, and how often it is wrong.

What is decided about a cell is on which side of its threshold each role lies, and which class each
network of the parent gives it. Its margin is the distance to the nearest other decision, as a
difference of logits: of a role from its threshold, of a class from the next likely one. Decisions
within some margin form the set of answers that the student does not exclude; where that is a single
one its answer stands, and all other cells go to the parent.

The margin is found by split conformal prediction (Vovk et al. 2005; Lei et al. 2018, J. Am. Stat.
Assoc. 113:1094): how far the parent's decision lies from the student's on cells that it did not
learn from, of which all but the stated share lie within the margin. So at most that share of cells
like these is answered otherwise. Slides that come later may be less like them, so what counts in a
verdict is an exact bound of what was measured on further slides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.specs import CascadeSpec
from edgeapl.stages.intervals import exact_upper, upper_count

Values = Mapping[str, NDArray[np.generic]]
Float64 = NDArray[np.float64]

LEAST = 1e-6
"""Probabilities nearer to 0 or 1 than this are all alike: a float has no room for them."""


def student_output(network: str, output: str) -> str:
    """Return the name of the student's output that stands for an output of a parent's network."""
    return f"{network}-{output}"


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """What is decided about a cell. All outputs are named as the student's are.

    roles : outputs that are compared with a threshold. thresholds : theirs, logits.
    classes : of each network the outputs of which a cell has the likeliest.
    """

    roles: tuple[str, ...]
    thresholds: tuple[float, ...]
    classes: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, manifest: Manifest) -> Decisions:
        """Return what a parent, or a bundle with it behind a student, decides about a cell."""
        first = manifest.cascade.network if manifest.cascade else None
        networks = [name for name in manifest.cell_networks if name != first]
        return cls(
            tuple(student_output(role.network, role.output) for role in manifest.roles),
            tuple(float(_logit(np.array(role.threshold))) for role in manifest.roles),
            tuple(
                tuple(student_output(name, output) for output in manifest.networks[name].classes)
                for name in networks
                if len(manifest.networks[name].classes) > 1
            ),
        )

    @property
    def outputs(self) -> tuple[str, ...]:
        """All outputs that they rest on."""
        return tuple(dict.fromkeys([*self.roles, *(one for each in self.classes for one in each)]))

    def margins(self, student: Values) -> Float64:
        """Return how far cells are from another decision, float64 (N,) or () for one; NaN for NaN.

        student : output to float (N,) or (). What is 0 was not asked, and is decided elsewhere.
        """
        values = _table(student, self.roles)
        apart = np.abs(_logit(values) - self._limits(values))
        nearest = np.where(values == 0, np.inf, apart).min(axis=0, initial=np.inf)
        for outputs in self.classes:
            table = _table(student, outputs)
            two = np.sort(np.log(_clipped(table)), axis=0)[-2:]
            asked = table.sum(axis=0) != 0
            nearest = np.minimum(nearest, np.where(asked, two[1] - two[0], np.inf))
        return np.asarray(nearest)

    def distances(self, student: Values, parent: Values) -> Float64:
        """Return how far the parent's decisions lie beyond the student's, float64 (N,).

        Below 0 they are the student's own. Only what both were asked is compared: where one was
        not, they differ in the class that decided it.
        """
        values, wanted = _table(student, self.roles), _table(parent, self.roles)
        limits = self._limits(values)
        side = np.where(_logit(wanted) >= limits, 1.0, -1.0)
        both = (values > 0) & (wanted > 0)
        beyond = np.where(both, side * (limits - _logit(values)), -np.inf)
        worst = beyond.max(axis=0, initial=-np.inf)
        for outputs in self.classes:
            table, right = _table(student, outputs), _table(parent, outputs)
            logs = np.log(_clipped(table))
            place = right.argmax(axis=0)[None]
            mine = np.take_along_axis(logs, place, axis=0)[0]
            others = logs.copy()
            np.put_along_axis(others, place, -np.inf, axis=0)
            asked = (table.sum(axis=0) > 0) & (right.sum(axis=0) > 0)
            worst = np.maximum(worst, np.where(asked, others.max(axis=0) - mine, -np.inf))
        return np.asarray(worst)

    def _limits(self, values: Float64) -> Float64:
        limits = np.array(self.thresholds)
        return limits.reshape(-1, *[1] * (values.ndim - 1))


@dataclass(frozen=True, slots=True, eq=False)
class Cascade:
    """A student before the networks of its parent, as a bundle's manifest describes it."""

    network: str
    spec: CascadeSpec
    decisions: Decisions

    @classmethod
    def of(cls, manifest: Manifest) -> Cascade | None:
        """Return the cascade of a bundle; None for all others."""
        spec = manifest.cascade
        return None if spec is None else cls(spec.network, spec, Decisions.of(manifest))

    def stands(self, answer: Values) -> bool:
        """Whether the student's answer about one cell is final; not so for NaN."""
        return float(self.decisions.margins(answer)) > self.spec.margin

    @property
    def bound(self) -> float:
        """Upper bound of the share of cells that are answered otherwise, exact, 0 to 1."""
        return error_bound(self.spec.otherwise, self.spec.cells, self.spec.confidence)

    def otherwise(self, cells: int) -> int:
        """Return how many of so many cells may be answered otherwise than by the parent.

        The confidence is split between the bound and what chance adds to it on one slide.
        """
        return upper_count(cells, self.bound, _half(self.spec.confidence))


def conformal_margin(distances: Float64, error: float) -> float:
    """Return the margin beyond which the student's answer stands; infinite for too few cells.

    Parameters
    ----------
    distances : of `Decisions.distances`, of cells that the student did not learn from.
    error : share of cells that may be answered otherwise.

    The parent's decision is no farther than the n-th of them for all but `error` of further cells.
    Is that below 0, then already some of its own decisions are as unlikely as that, and are left to
    the parent too.
    """
    place = math.ceil((len(distances) + 1) * (1 - error))
    if place > len(distances):
        return math.inf
    return abs(float(np.sort(distances)[place - 1]))


def error_bound(otherwise: int, cells: int, confidence: float) -> float:
    """Return the exact upper bound of a student's error, 0 to 1; see `Cascade.otherwise`."""
    return exact_upper(otherwise, cells, _half(confidence))


def _half(confidence: float) -> float:
    return (1 + confidence) / 2


def _table(values: Values, outputs: tuple[str, ...]) -> Float64:
    if not outputs:
        return np.empty((0, *np.shape(next(iter(values.values())))))
    return np.stack([np.asarray(values[name], dtype=np.float64) for name in outputs])


def _clipped(values: Float64) -> Float64:
    return np.clip(values, LEAST, 1 - LEAST)


def _logit(values: Float64) -> Float64:
    inside = _clipped(values)
    return np.asarray(np.log(inside) - np.log1p(-inside))
