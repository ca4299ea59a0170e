"""Times networks without the pipeline: same inputs, best number of workers and batch size."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from edgeapl.bench.time_limit import NO_LIMIT, TimeLimit
from edgeapl.bench.usage import cpu_seconds
from edgeapl.cores import OwnCores
from edgeapl.protocols import Arrays, Engine

BATCHES = (1, 8, 32)
"""Batch sizes to try; on a CPU 1 usually wins, on a GPU the largest."""

SEARCH_S = 0.3
"""Minimum run time of each setting, and at least one run after an uncounted one."""

FINAL_TIMES = 5
"""The fastest `FINALISTS` are then run this many times as long: short runs err by a few percent."""

FINALISTS = 3

Opener = Callable[[int, int], Engine]
"""Opens another session of a network: threads per run, and number of workers.

Two workers that share a session are as fast as two sessions, and take the memory of one.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a network is run: parallel runs, threads per run, rows per run.

    As text ``2x1 batch 8``: two workers with one thread each.
    """

    workers: int
    threads: int
    batch: int

    def __str__(self) -> str:
        return f"{self.workers}x{self.threads} batch {self.batch}"


@dataclass(frozen=True, slots=True)
class CompletedRun:
    """Completed work: rows, seconds, and seconds of CPU time."""

    rows: int
    seconds: float
    cpu_s: float

    @property
    def rows_per_s(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds


@dataclass(frozen=True, slots=True)
class Rate:
    """Rows per second with a setting."""

    setting: Setting
    rows_per_s: float


def settings_to_try(cores: int, batches: Sequence[int]) -> tuple[Setting, ...]:
    """Return one worker with all cores, and one worker per core, each with every batch size."""
    ways = dict.fromkeys([(1, cores), (cores, 1)])
    return tuple(Setting(*way, batch) for way in ways for batch in batches)


def best_setting(
    opener: Opener,
    rows: Arrays,
    settings: Sequence[Setting],
    at_least_s: float = SEARCH_S,
    limit: TimeLimit = NO_LIMIT,
) -> tuple[Rate, tuple[Rate, ...]]:
    """Return the fastest of some settings, and the rates of those that were tried.

    at_least_s : each is run so long; see `SEARCH_S`. limit : no further one is tried after it.
    """

    def rate(setting: Setting, seconds: float) -> Rate:
        with session(opener, setting) as engine:
            return Rate(setting, run_rows(engine, rows, setting, seconds).rows_per_s)

    first: dict[Setting, Rate] = {}
    for setting in settings:
        if not (first and limit.over):
            first[setting] = rate(setting, at_least_s)
    longer: dict[Setting, Rate] = {}
    for setting in sorted(first, key=lambda setting: -first[setting].rows_per_s)[:FINALISTS]:
        if not limit.over:
            longer[setting] = rate(setting, FINAL_TIMES * at_least_s)
    best = max((longer or first).values(), key=lambda one: one.rows_per_s)
    return best, tuple({**first, **longer}.values())


@contextmanager
def session(opener: Opener, setting: Setting) -> Iterator[Engine]:
    """Open the session of a setting."""
    engine = opener(setting.threads, setting.workers)
    try:
        yield engine
    finally:
        engine.close()


def run_rows(
    engine: Engine,
    rows: Arrays,
    setting: Setting,
    at_least_s: float,
    now: Callable[[], float] = time.perf_counter,
) -> CompletedRun:
    """Let all workers call an engine in parallel, each on its own thread.

    No worker starts a new run once the time is up; the clock stops when the last one has finished.
    """
    parts = batches_of(rows, setting.batch)
    engine.run(parts[0])
    done = [0] * setting.workers
    cpu_s, start = cpu_seconds(), now()

    def work(place: int) -> None:
        turn = place
        while not done[place] or now() - start < at_least_s:
            part = parts[turn % len(parts)]
            engine.run(part)
            done[place] += row_count(part)
            turn += 1

    own = OwnCores(setting.workers)
    with ThreadPoolExecutor(setting.workers, initializer=own.take) as pool:
        list(pool.map(work, range(setting.workers)))  # raises what a worker raised
    return CompletedRun(sum(done), now() - start, cpu_seconds() - cpu_s)


def joined(runs: Sequence[Arrays]) -> Arrays:
    """Concatenate the inputs of several runs."""
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


def batches_of(rows: Arrays, batch: int) -> tuple[Arrays, ...]:
    """Split rows into batches of one size, at least one; a smaller remainder is dropped."""
    count = max(1, row_count(rows) // batch)
    return tuple(
        {
            name: np.ascontiguousarray(value[n * batch : (n + 1) * batch])
            for name, value in rows.items()
        }
        for n in range(count)
    )


def row_count(rows: Arrays) -> int:
    """Return the number of rows."""
    return int(next(iter(rows.values())).shape[0])
