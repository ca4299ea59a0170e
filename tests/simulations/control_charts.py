"""How soon control charts alarm, with drift and without.

    python -m tests.simulations.control_charts --stations 400 --seed 1

Each station draws normal slides, as many as it takes up to 1,500. Charts with a baseline rank them
among their first 30; charts of distances compare them with a bundle's limit at 99.5 %.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from edgeapl.monitoring.control import BASELINE, Chart, distance_chart, value_chart

SLIDES = 1500


def first_alarm(chart: Chart | None, after: int) -> float:
    """Give how many slides after one the first alarm comes; infinite when none does."""
    assert chart is not None
    return next((place + 1 - after for place in chart.alarms if place >= after), np.inf)


def baseline_waits(stations: int, shift: float, seed: int) -> NDArray[np.float64]:
    """Give how long charts with a baseline take to alarm once slides moved by so many deviations.

    A chart that alarmed before is not asked.
    """
    rng = np.random.default_rng(seed)
    waits = []
    for _ in range(stations):
        values = rng.normal(size=2 * BASELINE + SLIDES)
        values[2 * BASELINE :] += shift
        waits.append(first_alarm(value_chart("v", "", values.tolist()), 2 * BASELINE))
    return np.array(waits)


def distance_waits(stations: int, size: int, seed: int) -> NDArray[np.float64]:
    """Give how long charts of distances, made of so many numbers, take without drift."""
    rng = np.random.default_rng(seed)
    limit = float(np.sqrt(np.quantile((rng.normal(size=(200_000, size)) ** 2).sum(axis=1), 0.995)))
    waits = []
    for _ in range(stations):
        away = np.sqrt((rng.normal(size=(SLIDES, size)) ** 2).sum(axis=1)).tolist()
        waits.append(first_alarm(distance_chart("d", [(d, limit) for d in away], size), 0))
    return np.array(waits)


def main() -> None:
    """Print what docs/monitor.md says."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulations.control_charts")
    parser.add_argument("--stations", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rows = {
        "first 30 slides, no drift": baseline_waits(options.stations, 0.0, options.seed),
        "first 30 slides, moved by 1": baseline_waits(options.stations, 1.0, options.seed),
        "first 30 slides, moved by 2": baseline_waits(options.stations, 2.0, options.seed),
        "distance of 1 number, no drift": distance_waits(options.stations, 1, options.seed),
        "distance of 6 numbers, no drift": distance_waits(options.stations, 6, options.seed),
    }
    print("| chart | alarm within 20 slides | within 100 | within 200 |")
    print("|---|---|---|---|")
    for name, waits in rows.items():
        shares = " | ".join(f"{(waits <= most).mean():.0%}" for most in (20, 100, 200))
        print(f"| {name} | {shares} |")


if __name__ == "__main__":
    main()
