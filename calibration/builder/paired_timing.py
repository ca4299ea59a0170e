"""Times engines against each other on this machine, interleaved, so that all see the same load."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

import numpy as np

from edgeapl.bundle.manifest import Manifest
from edgeapl.calibration.validation.network_passes import SlideOnItsWay, networks_in_order
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

AS_GOOD = 1.03
"""Settings within 3 % of the fastest count as equally fast: a few runs cannot tell more."""


@dataclass(frozen=True, slots=True)
class Timed:
    """What is timed: engines, by the name of their opener, and how they are run."""

    engines: str
    batch_size: int
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """The settings in which engines are fastest, and seconds per cell of all that were tried.

    seconds : settings as text to seconds.
    """

    settings: Settings
    seconds: Mapping[str, float]


def time_in_turns(
    manifest: Manifest,
    openers: Mapping[str, Opener],
    runs: Mapping[str, Timed],
    crops: UInt8,
    rounds: int = ROUNDS,
    of_rounds: Callable[[Sequence[float]], float] = median,
) -> dict[str, float]:
    """Return the seconds in which each of the runs classifies `CELLS` cells.

    Parameters
    ----------
    openers : each opens all networks in one way.
    crops : uint8 (N, size, size, 3) RGB; repeated or cut to `CELLS`.
    rounds : counted ones. The first one, a batch per worker, is not counted.
    of_rounds : reduces the times of all rounds to one number.

    Networks are timed one after another, and every round times all runs on a network once: only
    that network's engines are in memory, one per opener. Every worker has `CELLS` cells, which each
    run routes through the networks in its own way, as at the station; all workers share the
    engines.
    """
    cells = np.resize(crops, (CELLS, *crops.shape[1:]))
    opened: dict[str, dict[str, Engine]] = {one: {} for one in openers}

    def ways(run: Timed, count: int) -> list[SlideOnItsWay]:
        engines = opened[run.engines]
        return [
            SlideOnItsWay(manifest, engines, cells[:count], run.batch_size)
            for _ in range(run.workers)
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
                    for name, slides in tries.items():
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
    return {name: of_rounds(taken[name][1:].tolist()) / run.workers for name, run in runs.items()}


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
    """Choose workers, threads and batch by measuring a small grid.

    Parameters
    ----------
    opener : returns an opener of engines for some settings.
    cores : workers times threads equals this, or nearly if it does not divide evenly.
    """
    found: dict[Settings, float] = {}
    for threads in sorted({*(few for few in THREADS if few < cores), cores}):
        workers = cores // threads
        tried = [Settings(threads=threads, batch_size=b, workers=workers) for b in BATCHES]
        # Engines do not depend on the batch, so one of each is open for all batches.
        openers = {"engines": opener(tried[0])}
        runs = {one.text: Timed("engines", one.batch_size, workers) for one in tried}
        # The shortest: these are not interleaved, and other programs can only make them longer.
        seconds = time_in_turns(manifest, openers, runs, crops, GRID_ROUNDS, min)
        found.update({one: seconds[one.text] / CELLS for one in tried})
    return Measured(choose(found), {one.text: seconds for one, seconds in found.items()})


def choose(seconds: Mapping[Settings, float]) -> Settings:
    """Choose settings by their seconds per cell; among equally fast ones the quickest to answer.

    That is the one with the smallest batch, whose first answers come soonest, then with the fewest
    threads: when another program takes one core, a run of many threads waits for the slowest
    (compare `edgeapl bench --busy 1 --workers 1 --threads 2` with `--workers 2 --threads 1`).
    """
    limit = AS_GOOD * min(seconds.values())
    good = [one for one in seconds if seconds[one] <= limit]
    return min(good, key=lambda one: (one.batch_size, one.threads, seconds[one]))
