"""Times engines against each other on this machine, interleaved, so that all see the same load."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from edgeapl.bundle.manifest import Manifest
from edgeapl.calibration.builder.settings_race import AS_GOOD, race_settings
from edgeapl.calibration.validation.network_passes import SlidePass, networks_in_order
from edgeapl.engines.exclusive import Opener
from edgeapl.engines.store.record import Settings
from edgeapl.protocols import Engine
from edgeapl.types import UInt8

ROUNDS = 5
GRID_ROUNDS = 3
CELLS = 16
"""Cells per worker."""

BATCHES = (1, 4, 16)

THREADS = (1, 2, 4)
"""Threads to try inside one run, besides the number of cores."""


@dataclass(frozen=True, slots=True)
class TimingRun:
    """What is timed: engines, by the name of their opener, and how they are run."""

    engines: str
    batch_size: int
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """The settings in which engines are fastest, and seconds per cell of all that were tried.

    seconds : settings in words to seconds. evidence : what the choice rests on, as plain JSON
    values; empty where settings were not raced.
    """

    settings: Settings
    seconds: Mapping[str, float]
    evidence: Mapping[str, Any] = field(default_factory=dict)


def time_interleaved(
    manifest: Manifest,
    openers: Mapping[str, Opener],
    runs: Mapping[str, TimingRun],
    crops: UInt8,
    rounds: int = ROUNDS,
) -> dict[str, float]:
    """Return the seconds in which each of the runs classifies `CELLS` cells; see `rounds_in_turns`.

    Of all rounds the middle one counts.
    """
    every = rounds_in_turns(manifest, openers, runs, crops, rounds)
    return {name: median(taken) for name, taken in every.items()}


def rounds_in_turns(
    manifest: Manifest,
    openers: Mapping[str, Opener],
    runs: Mapping[str, TimingRun],
    crops: UInt8,
    rounds: int,
) -> dict[str, list[float]]:
    """Return the seconds in which each of the runs classifies `CELLS` cells, round by round.

    Parameters
    ----------
    openers : each opens all networks in one way.
    crops : uint8 (N, size, size, 3) RGB; repeated or cut to `CELLS`.
    rounds : counted ones. The first one, a batch per worker, is not counted.

    Networks are timed one after another, and every round times all runs on a network once: only
    that network's engines are in memory, one per opener. Every worker has `CELLS` cells, which each
    run routes through the networks in its own way, as at the station; all workers share the
    engines.
    """
    cells = np.resize(crops, (CELLS, *crops.shape[1:]))
    opened: dict[str, dict[str, Engine]] = {one: {} for one in openers}

    def ways(run: TimingRun, count: int) -> list[SlidePass]:
        engines = opened[run.engines]
        return [
            SlidePass(manifest, engines, cells[:count], run.batch_size) for _ in range(run.workers)
        ]

    tries = {
        name: [ways(run, run.batch_size), *(ways(run, CELLS) for _ in range(rounds))]
        for name, run in runs.items()
    }
    taken = {name: np.zeros(rounds + 1) for name in runs}
    most = max(run.workers for run in runs.values())
    with ThreadPoolExecutor(most, "edgeapl-timing") as pool:
        for network in networks_in_order(manifest):
            with ExitStack() as closing:
                for one, opener in openers.items():
                    opened[one][network] = opener(network)
                    closing.callback(opened[one][network].close)
                for number in range(rounds + 1):
                    # Nobody always comes first.
                    turns = list(tries.items())[:: 1 if number % 2 == 0 else -1]
                    for name, slides in turns:
                        taken[name][number] += _together(
                            pool, [slide.run_network for slide in slides[number]], network
                        )
            for engines in opened.values():
                engines.clear()
    for name, slides in tries.items():
        for number, workers in enumerate(slides):
            start = time.perf_counter()
            for slide in workers:
                slide.answers()
            taken[name][number] += time.perf_counter() - start
    return {name: (taken[name][1:] / run.workers).tolist() for name, run in runs.items()}


def _together(
    pool: ThreadPoolExecutor, calls: Sequence[Callable[[str], None]], network: str
) -> float:
    """Return the seconds until all calls, started at the same time, have finished."""
    start = time.perf_counter()
    if len(calls) == 1:
        calls[0](network)
    else:
        for future in [pool.submit(call, network) for call in calls]:
            future.result()
    return time.perf_counter() - start


def best_settings(
    manifest: Manifest,
    opener: Callable[[Settings], Opener],
    crops: UInt8,
    cores: int,
) -> Measured:
    """Race workers, threads and batch against the usual: a worker for each core, cells one by one.

    Parameters
    ----------
    opener : returns an opener of engines for some settings.
    cores : workers times threads equals this, or nearly if it does not divide evenly.
    """
    ways = [
        (cores // threads, threads)
        for threads in sorted({*(few for few in THREADS if few < cores), cores})
    ]
    tried = [
        Settings(threads=threads, batch_size=batch, workers=workers)
        for workers, threads in ways
        for batch in BATCHES
    ]

    def contest(
        prior: Settings, rivals: Sequence[Settings], rounds: int
    ) -> dict[Settings, list[float]]:
        # Engines do not care for the batch, so one of each way is open for all of them.
        raced = (prior, *rivals)
        openers = {_way(one): opener(one) for one in reversed(raced)}
        runs = {one.text: TimingRun(_way(one), one.batch_size, one.workers or 1) for one in raced}
        seconds = rounds_in_turns(manifest, openers, runs, crops, rounds)
        return {one: seconds[one.text] for one in raced}

    race = race_settings(tried[0], tried[1:], contest)
    seconds = {text: middle / CELLS for text, middle in race.seconds.items()}
    return Measured(race.chosen, seconds, race.evidence)


def _way(settings: Settings) -> str:
    return f"{settings.workers} x {settings.threads}"


def choose(seconds: Mapping[Settings, float]) -> Settings:
    """Choose settings by their seconds per cell; among equally fast ones the quickest to answer.

    That is the one with the smallest batch, whose first answers come soonest, then with the fewest
    threads: when another program takes one core, a run of many threads waits for the slowest
    (compare `edgeapl bench --busy 1 --workers 1 --threads 2` with `--workers 2 --threads 1`).
    """
    limit = AS_GOOD * min(seconds.values())
    good = [one for one in seconds if seconds[one] <= limit]
    return min(good, key=lambda one: (one.batch_size, one.threads, seconds[one]))
