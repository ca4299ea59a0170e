"""Time engines against each other on this machine: in turns, so that both see the same load."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

import numpy as np

from edgeapl.bundle.manifest import Manifest
from edgeapl.calibration.judging.in_step import SlideOnItsWay, networks_in_order
from edgeapl.engines.in_turn import Opener
from edgeapl.engines.store.record import Settings
from edgeapl.protocols import Engine
from edgeapl.types import UInt8

ROUNDS = 5
GRID_ROUNDS = 3
CELLS = 16
TIMED_BATCH = 4
"""Cells in one run while candidates are compared: on a CPU more are no faster."""

BATCHES = (1, 4, 16)


@dataclass(frozen=True, slots=True)
class Timed:
    """What is timed: engines, by the name of who opens them, and cells in one run."""

    engines: str
    batch_size: int


def time_in_turns(
    manifest: Manifest,
    openers: Mapping[str, Opener],
    runs: Mapping[str, Timed],
    crops: UInt8,
    rounds: int = ROUNDS,
) -> dict[str, float]:
    """Give the median seconds in which each of the runs classifies `CELLS` cells.

    Parameters
    ----------
    openers : each opens all networks in one way.
    crops : uint8 (N, size, size, 3) RGB; repeated or cut to `CELLS`.
    rounds : that count. A first one does not.

    One network after another is timed, and every round asks all runs about it once: in memory are
    that network's engines alone, one of each opener. The cells go each run's own way through the
    networks, as at the station.
    """
    cells = np.resize(crops, (CELLS, *crops.shape[1:]))
    opened: dict[str, dict[str, Engine]] = {one: {} for one in openers}
    tries = {
        name: [
            SlideOnItsWay(manifest, opened[run.engines], cells, run.batch_size)
            for _ in range(rounds + 1)
        ]
        for name, run in runs.items()
    }
    taken = {name: np.zeros(rounds + 1) for name in runs}
    for network in networks_in_order(manifest):
        with ExitStack() as closing:
            for one, opener in openers.items():
                opened[one][network] = opener(network)
                closing.callback(opened[one][network].close)
            for number in range(rounds + 1):
                for name, slides in tries.items():
                    start = time.perf_counter()
                    slides[number].run_network(network)
                    taken[name][number] += time.perf_counter() - start
        for engines in opened.values():
            engines.clear()
    for name, slides in tries.items():
        for number, slide in enumerate(slides):
            start = time.perf_counter()
            slide.answers()
            taken[name][number] += time.perf_counter() - start
    return {name: median(seconds[1:]) for name, seconds in taken.items()}


def best_settings(
    manifest: Manifest,
    opener: Callable[[int], Opener],
    crops: UInt8,
    cores: int,
) -> tuple[Settings, dict[str, float]]:
    """Choose threads and batch by measuring a small grid; gives seconds per cell for each.

    Parameters
    ----------
    opener : gives what opens an engine with a number of threads.
    """
    found: dict[str, float] = {}
    choices: dict[str, Settings] = {}
    for threads in sorted({1, cores}):
        runs = {}
        for batch in BATCHES:
            name = f"threads {threads}, batch {batch}"
            choices[name] = Settings(threads=threads, batch_size=batch)
            runs[name] = Timed("engines", batch)
        one = {"engines": opener(threads)}
        found.update(time_in_turns(manifest, one, runs, crops, GRID_ROUNDS))
    best = min(found, key=lambda name: (found[name], name))
    return choices[best], {name: seconds / CELLS for name, seconds in found.items()}
