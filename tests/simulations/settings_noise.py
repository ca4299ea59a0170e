"""Builds on a machine that does other things as well: which settings are chosen, and how often.

    python -m tests.simulations.settings_noise

Times are made, not measured: a clock that moves only as far as the runs take. Every run is slowed
by noise of its own, by a clock rate that wanders, and by another program that takes a core now and
then, which holds up runs of several threads more than it does several workers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgeapl.calibration.builder.paired_timing import BATCHES, choose
from edgeapl.calibration.builder.settings_race import AS_GOOD, race_settings
from edgeapl.engines.store.record import Settings
from edgeapl.testing import FakeClock

BUILDS = 100

Machine = Mapping[tuple[int, int, int], float]
"""Workers, threads and batch to true seconds."""


def _grid(**by_way: float) -> Machine:
    """Spread the seconds of a way over its batches, which hardly matter."""
    of_batch = {1: 1.0, 4: 0.99, 16: 1.01}
    ways = {(int(name[1]), int(name[3])): seconds for name, seconds in by_way.items()}
    return {(*way, batch): s * of_batch[batch] for way, s in ways.items() for batch in BATCHES}


MACHINES: Mapping[str, Machine] = {
    "two cores, workers 25 % faster": _grid(w2t1=1.0, w1t2=1.33),
    "two cores, workers 8 % faster": _grid(w2t1=1.0, w1t2=1.08),
    "two cores, threads 12 % faster": _grid(w2t1=1.12, w1t2=1.0),
    "two cores, batch 16 a quarter faster": {
        (2, 1, 1): 1.0, (2, 1, 4): 0.9, (2, 1, 16): 0.75,
        (1, 2, 1): 1.2, (1, 2, 4): 1.1, (1, 2, 16): 0.9,
    },
    "four cores, pairs of threads 15 % faster": _grid(w4t1=1.15, w2t2=1.0, w1t4=1.2),
}  # fmt: skip


def settings_of(key: tuple[int, int, int]) -> Settings:
    workers, threads, batch = key
    return Settings(workers=workers, threads=threads, batch_size=batch)


@dataclass
class NoisyMachine:
    """Implements Contest with made times.

    noise : spread of a run's own noise. busy : share of the time that another program takes a core.
    """

    true: Mapping[Settings, float]
    seed: int
    noise: float = 0.04
    busy: float = 0.2
    clock: FakeClock = field(default_factory=FakeClock)
    _busy_until: float = 0.0
    _idle_until: float = 0.0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def __call__(
        self, prior: Settings, rivals: Sequence[Settings], rounds: int
    ) -> dict[Settings, list[float]]:
        seconds: dict[Settings, list[float]] = {one: [] for one in (prior, *rivals)}
        for number in range(rounds):
            order = list(seconds)
            for one in order if number % 2 == 0 else reversed(order):
                seconds[one].append(self.run(one))
        return seconds

    def run(self, settings: Settings) -> float:
        now = self.clock.monotonic_ns() / 1e9
        wander = 1 + 0.15 * math.sin(now / 40)
        taken = self.true[settings] * wander * self._chance.lognormvariate(0, self.noise)
        if self._another_program(now):
            cores = (settings.workers or 1) * settings.threads
            # A run of several threads waits for the one that has lost its core.
            taken *= 2.0 if settings.threads > 1 else cores / (cores - 0.5)
        self.clock.move(taken)
        return taken

    def _another_program(self, now: float) -> bool:
        """Whether it runs: for some seconds, then not for longer."""
        while now >= self._idle_until:
            self._busy_until = self._idle_until + self._chance.expovariate(1 / 3)
            idle = 3 * (1 - self.busy) / self.busy
            self._idle_until = self._busy_until + self._chance.expovariate(1 / idle)
        return now < self._busy_until


def right(true: Mapping[Settings, float], chosen: Settings) -> bool:
    """Whether settings are as good as the fastest."""
    return true[chosen] <= AS_GOOD * min(true.values())


def builds(machine: Machine, count: int = BUILDS) -> tuple[int, int]:
    """Return how many builds choose right: by the race, and by the shortest of three rounds."""
    true = {settings_of(key): seconds for key, seconds in machine.items()}
    cores = max(workers for workers, _, _ in machine)
    prior = settings_of((cores, 1, BATCHES[0]))
    raced = shortest = 0
    for seed in range(count):
        race = race_settings(prior, tuple(true), NoisyMachine(true, seed))
        raced += right(true, race.chosen)
        before = NoisyMachine(true, seed)
        grid = {one: min(before.run(one) for _ in range(3)) for one in true}
        shortest += right(true, choose(grid))
    return raced, shortest


def main() -> None:
    for name, machine in MACHINES.items():
        raced, shortest = builds(machine)
        print(f"| {name} | {raced} of {BUILDS} | {shortest} of {BUILDS} |")


if __name__ == "__main__":
    main()
