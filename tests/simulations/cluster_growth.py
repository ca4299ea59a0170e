"""How slides a second grow with machines, when one program commits what all of them found.

    python -m tests.simulations.cluster_growth [--slide 0.31] [--program 0.036] [--bytes 2503112]

Times are made, not measured: every worker takes `--slide` seconds a slide and has the next one
waiting; the program takes `--program` seconds an answer, one after the other, and the network a
time for its bytes. The defaults were measured by `tests.data.measure_cluster`.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys

AHEAD = 2
"""As `edgeapl.cluster.scoring.AHEAD`."""


def slides_a_second(
    workers: int, slide_s: float, program_s: float, transfer_s: float, slides: int = 20_000
) -> float:
    """Return the rate. Times of slides vary by a fifth; answers are taken in the order they end."""
    chance = random.Random(1)
    waiting = [AHEAD] * workers
    events: list[tuple[float, int]] = []

    def begin(worker: int, now: float) -> None:
        heapq.heappush(events, (now + slide_s * chance.gauss(1, 0.2), worker))

    for worker in range(workers):
        begin(worker, 0.0)
    idle: set[int] = set()
    free = 0.0
    for _ in range(slides):
        now, worker = heapq.heappop(events)
        waiting[worker] -= 1
        if waiting[worker]:
            begin(worker, now)
        else:
            idle.add(worker)
        free = max(free, now + transfer_s) + max(program_s, transfer_s)
        waiting[worker] += 1  # the program sends the next one with the answer
        if worker in idle:
            idle.remove(worker)
            begin(worker, free)
    return slides / free


def main() -> None:
    """Print a row for every number of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slide", type=float, default=0.31, help="seconds of a worker")
    parser.add_argument("--program", type=float, default=0.036, help="seconds of the program")
    parser.add_argument("--bytes", type=float, default=2_503_112, help="of an answer")
    parser.add_argument("--network", type=float, default=125e6, help="bytes a second")
    options = parser.parse_args()
    transfer = options.bytes / options.network
    one = slides_a_second(1, options.slide, options.program, transfer)
    for workers in (1, 2, 4, 8, 16, 32, 64):
        rate = slides_a_second(workers, options.slide, options.program, transfer)
        sys.stdout.write(
            f"{workers:3d} machines: {rate:.2f} slides a second, {rate / one / workers:.2f} of "
            f"{workers} times one\n"
        )


if __name__ == "__main__":
    main()
