"""Time engines against each other on this machine: in turns, so that both see the same load."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np

from edgeapl.bundle.manifest import Manifest
from edgeapl.engines.store.record import Settings
from edgeapl.protocols import Engine
from edgeapl.stages.whole_slide import classify_slide
from edgeapl.types import UInt8

ROUNDS = 5
CELLS = 16
BATCHES = (1, 4, 16)


def time_in_turns(
    runs: Mapping[str, Callable[[], object]], rounds: int = ROUNDS
) -> dict[str, float]:
    """Give the median seconds of each run; every round runs all of them once, after a first try."""
    for run in runs.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - start)
    return {name: median(seconds) for name, seconds in taken.items()}


def classify_cells(
    manifest: Manifest, engines: Mapping[str, Engine], crops: UInt8, batch_size: int
) -> Callable[[], object]:
    """Give what classifies some cells once, whatever networks that takes."""
    some = np.resize(crops, (CELLS, *crops.shape[1:]))
    return lambda: classify_slide(manifest, engines, some, batch_size)


def best_settings(
    manifest: Manifest,
    opener: Callable[[int], Mapping[str, Engine]],
    crops: UInt8,
    cores: int,
) -> tuple[Settings, dict[str, float]]:
    """Choose threads and batch by measuring a small grid; gives seconds per cell for each.

    Parameters
    ----------
    opener : opens all engines with a number of threads.
    """
    found: dict[str, float] = {}
    choices: dict[str, Settings] = {}
    for threads in sorted({1, cores}):
        engines = opener(threads)
        runs = {}
        for batch in BATCHES:
            name = f"threads {threads}, batch {batch}"
            choices[name] = Settings(threads=threads, batch_size=batch)
            runs[name] = classify_cells(manifest, engines, crops, batch)
        found.update(time_in_turns(runs, rounds=3))
        for engine in engines.values():
            engine.close()
    best = min(found, key=lambda name: (found[name], name))
    return choices[best], {name: seconds / CELLS for name, seconds in found.items()}
