"""How often a certificate promises too much: cohorts whose true miss rate is known.

    python -m tests.simulations.certificates --cohorts 10000 --seed 1

Each cohort draws the scores of its positive patients (the limit below which a slide of theirs would
be cleared), earns a limit as `edgeapl calibrate --labels` does, and is compared with what that
limit really clears of all such patients. Promised is that at most 5 % of the cohorts get a limit
that clears more than alpha, whatever the scores look like. "Knife's edge" has the worst that can
be: every cohort that gets a certificate at all gets one that is wrong by a hair.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.certification.limits import Risk, limit_sequence
from edgeapl.stages.intervals import exact

Float64 = NDArray[np.float64]
Generator = np.random.Generator

RULE = 0.5
"""The rule's own limit."""

AT_ONCE = 2000
"""Cohorts in memory together."""


@dataclass(frozen=True, slots=True)
class World:
    """Where cohorts come from.

    draw : so many scores, float64; infinite for patients who are never cleared.
    below : share of all patients with a score below each limit, exactly, float64 (L,).
    patients : positive ones in so many cohorts, int64 (C,).
    """

    name: str
    draw: Callable[[Generator, tuple[int, int]], Float64]
    below: Callable[[Float64], Float64]
    patients: Callable[[Generator, int], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Line:
    """What came of one world. wrong : cohorts whose limit clears more than alpha."""

    name: str
    cohorts: int
    wrong: int
    certified: int
    mean_limit: float
    mean_missed: float

    @property
    def share(self) -> float:
        """Share of the cohorts that are wrong."""
        return self.wrong / self.cohorts

    @property
    def interval(self) -> tuple[float, float]:
        """Exact 95 % interval of that share (Clopper and Pearson 1934)."""
        return exact(self.wrong, self.cohorts, 0.95).ends


def simulate(world: World, cohorts: int, seed: int, risk: Risk = Risk()) -> Line:  # noqa: B008
    """Let cohorts earn limits, and count those that clear more than alpha of all patients."""
    rng = np.random.default_rng(seed)
    limits = limit_sequence(RULE)
    truth = world.below(limits)
    numbers: list[NDArray[np.int64]] = []
    for first in range(0, cohorts, AT_ONCE):
        some = min(AT_ONCE, cohorts - first)
        patients = world.patients(rng, some)
        scores = world.draw(rng, (some, int(patients.max(initial=1))))
        scores[np.arange(scores.shape[1]) >= patients[:, None]] = np.nan  # not in this cohort
        numbers.append(_limits_passed(scores, patients, limits, risk))
    passed = np.concatenate(numbers)
    certified = passed > 0
    missed = np.where(certified, truth[passed - 1], 0.0)
    return Line(
        name=world.name,
        cohorts=cohorts,
        wrong=int((missed > risk.alpha).sum()),
        certified=int(certified.sum()),
        mean_limit=float(limits[passed[certified] - 1].mean()) if certified.any() else 0.0,
        mean_missed=float(missed.mean()),
    )


def _limits_passed(
    scores: Float64, patients: NDArray[np.int64], limits: Float64, risk: Risk
) -> NDArray[np.int64]:
    """Give per cohort how many limits pass one after another, int64 (C,).

    So many scores may lie below a limit; the next one ends the sequence at the limit above it.
    """
    allowed = [risk.most_cleared(count) for count in range(int(patients.max()) + 1)]
    most = np.array(allowed, dtype=np.int64)[patients]
    ranked = np.sort(scores, axis=1)  # NaN last
    first_too_many = np.full(len(scores), np.inf)
    rows = np.flatnonzero((most >= 0) & (most < patients))
    first_too_many[rows] = ranked[rows, most[rows]]
    passed = np.searchsorted(limits, first_too_many, side="right").astype(np.int64)
    passed[most < 0] = 0
    return passed


def _fixed(count: int) -> Callable[[Generator, int], NDArray[np.int64]]:
    return lambda rng, cohorts: np.full(cohorts, count, dtype=np.int64)


def _tied(
    values: Float64, shares: Float64
) -> tuple[Callable[..., Float64], Callable[..., Float64]]:
    """Give how scores are drawn that take few values, and what lies below a limit."""

    def draw(rng: Generator, shape: tuple[int, int]) -> Float64:
        places = np.searchsorted(np.cumsum(shares), rng.random(shape), side="right")
        return np.concatenate([values, [np.inf]])[places]

    def below(limits: Float64) -> Float64:
        return np.asarray((shares[None] * (values[None] < limits[:, None])).sum(axis=1))

    return draw, below


def _smooth(power: float, scale: float) -> tuple[Callable[..., Float64], Callable[..., Float64]]:
    """Give scores of which (score / scale) ** power lie below, up to scale."""

    def draw(rng: Generator, shape: tuple[int, int]) -> Float64:
        return scale * rng.random(shape) ** (1 / power)

    def below(limits: Float64) -> Float64:
        return np.minimum(1.0, (limits / scale) ** power)

    return draw, below


def _drifting(rng: Generator, cohorts: int) -> NDArray[np.int64]:
    """Give the APL patients among 600 slides in 12 months of which APL gets rarer or commoner."""
    start, end = rng.uniform(0.02, 0.4, (2, cohorts))
    months = start[:, None] + (end - start)[:, None] * np.linspace(0, 1, 12)
    return np.asarray(rng.binomial(50, months).sum(axis=1), dtype=np.int64)


def worlds() -> list[World]:
    """Give all that are tried."""
    smooth = _smooth(2.0, 1.0)
    steep = _smooth(0.5, 1.0)
    edge = _tied(np.array([0.0005]), np.array([0.0501]))
    tied = _tied(np.array([0.05, 0.1, 0.2, 0.3]), np.array([0.02, 0.025, 0.006, 0.03]))
    return [
        World("smooth scores, 59 patients", *smooth, _fixed(59)),
        World("smooth scores, 120 patients", *smooth, _fixed(120)),
        World("smooth scores, 500 patients", *smooth, _fixed(500)),
        World("many low scores, 200 patients", *steep, _fixed(200)),
        World("ties in four places, 64 patients", *tied, _fixed(64)),
        World("ties in four places, 300 patients", *tied, _fixed(300)),
        World("knife's edge, 59 patients", *edge, _fixed(59)),
        World("knife's edge, 93 patients", *edge, _fixed(93)),
        World("knife's edge, 500 patients", *edge, _fixed(500)),
        World("too small: 58 patients", *smooth, _fixed(58)),
        World("drifting prevalence, 600 slides", *smooth, _drifting),
        World("drifting prevalence, knife's edge", *edge, _drifting),
    ]


def main() -> None:
    """Print the table of docs/certificate.md."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulations.certificates")
    parser.add_argument("--cohorts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(
        "| cohorts | with a certificate | mean limit | APL cleared, mean | more than 5 % cleared |"
    )
    print("|---|---|---|---|---|")
    for number, world in enumerate(worlds()):
        line = simulate(world, options.cohorts, options.seed + number)
        low, high = line.interval
        print(
            f"| {line.name} | {line.certified / line.cohorts:.1%} | {line.mean_limit:.3f} | "
            f"{line.mean_missed:.2%} | {line.share:.2%} ({low:.2%} to {high:.2%}) |"
        )


if __name__ == "__main__":
    main()
