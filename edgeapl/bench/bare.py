"""Networks without the pipeline: the same inputs, as fast as sessions and batches let them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from edgeapl.protocols import Arrays, Engine

BATCHES = (1, 8, 32)
"""Tried; on a processor 1 wins as a rule, on a GPU the largest."""

SEARCH_S = 0.3
"""Each setting is run at least so long, and at least once after a run that does not count."""

Opener = Callable[[int], Engine]
"""Opens one more session of a network, with so many threads."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a network is run: sessions side by side, threads inside each, rows in one run.

    As text ``2x1 batch 8``: two sessions of one thread.
    """

    sessions: int
    threads: int
    batch: int

    def __str__(self) -> str:
        return f"{self.sessions}x{self.threads} batch {self.batch}"


@dataclass(frozen=True, slots=True)
class Rate:
    """Rows per second in a setting."""

    setting: Setting
    rows_per_s: float


def settings_to_try(cores: int, batches: Sequence[int]) -> tuple[Setting, ...]:
    """Give one session with all cores, and one session per core, with every batch size."""
    ways = dict.fromkeys([(1, cores), (cores, 1)])
    return tuple(Setting(*way, batch) for way in ways for batch in batches)


def best_setting(
    opener: Opener, rows: Arrays, settings: Sequence[Setting], at_least_s: float = SEARCH_S
) -> tuple[Rate, tuple[Rate, ...]]:
    """Give the fastest of some settings, and the rates of all."""
    rates = []
    for setting in settings:
        with sessions(opener, setting) as opened:
            rates.append(Rate(setting, rows_per_s(opened, rows, setting.batch, at_least_s)))
    return max(rates, key=lambda rate: rate.rows_per_s), tuple(rates)


@contextmanager
def sessions(opener: Opener, setting: Setting) -> Iterator[tuple[Engine, ...]]:
    """Open the sessions of a setting."""
    with ExitStack() as opened:
        engines = []
        for _ in range(setting.sessions):
            engines.append(opener(setting.threads))
            opened.callback(engines[-1].close)
        yield tuple(engines)


def rows_per_s(
    engines: Sequence[Engine],
    rows: Arrays,
    batch: int,
    at_least_s: float,
    now: Callable[[], float] = time.perf_counter,
) -> float:
    """Run all sessions side by side, each on its own thread, and give their rows per second.

    A session starts no new run once the time is up; the clock stops when the last one is back.
    """
    parts = batches_of(rows, batch)
    for engine in engines:
        engine.run(parts[0])
    done = [0] * len(engines)
    failures: list[BaseException] = []
    start = now()

    def work(place: int) -> None:
        turn = place
        try:
            while not done[place] or now() - start < at_least_s:
                part = parts[turn % len(parts)]
                engines[place].run(part)
                done[place] += row_count(part)
                turn += 1
        except BaseException as error:  # noqa: BLE001 - raised below, in the calling thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(engines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(done) / (now() - start)


def joined(runs: Sequence[Arrays]) -> Arrays:
    """Put the inputs of several runs into one, row after row."""
    return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


def batches_of(rows: Arrays, batch: int) -> tuple[Arrays, ...]:
    """Cut rows into batches of one size, at least one; a rest that is smaller is left out."""
    count = max(1, row_count(rows) // batch)
    return tuple(
        {
            name: np.ascontiguousarray(value[n * batch : (n + 1) * batch])
            for name, value in rows.items()
        }
        for n in range(count)
    )


def row_count(rows: Arrays) -> int:
    """Give the number of rows."""
    return int(next(iter(rows.values())).shape[0])
