"""SIGTERM at random moments: the station is gone within 3 s, and its journal is whole.

    python -m tests.faults.sigterm --count 60 [--seed 1]

Frames have 1 or 5 megapixels, and before every second signal a child of the station is stopped. The
promise is for a machine of its own: beside other programs the times are theirs too.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults.running import Place, Running, of_events, of_journal, orphans

GONE_S = 3.0
"""The promise."""

PATIENCE_S = 30.0
MOST_WAIT_S = 8.0
"""The signal comes at most so long after the start, or after the first answer."""

SIZES = {1: "width=1280&height=800&cells=40", 5: "width=2592&height=1944&cells=160"}


@dataclass(frozen=True, slots=True)
class Ended:
    """One try. gone_s : None when it was not gone after all patience.

    busy_s : processor time that the station took from the signal to its end, all threads together.
    """

    megapixels: int
    stopped: bool
    waited_s: float
    gone_s: float | None
    busy_s: float
    wrong: tuple[str, ...]


def one(
    place: Place,
    chance: random.Random,
    number: int,
    sizes: Sequence[int] = (1, 5),
    most_wait_s: float = MOST_WAIT_S,
) -> Ended:
    """Start a station, send it SIGTERM at a random moment, and look what is left."""
    megapixels, stops = chance.choice(sizes), number % 2 == 1
    address = f"demo://apl?seed={number}&frames=1000&um_per_px=0.125&{SIZES[megapixels]}"
    run = Running.start(place, address, "--slide", f"S{number}", "--exhaustive")
    try:
        if chance.random() < 0.8:  # else somewhere in its start
            run.until(_at_work, PATIENCE_S)
        waited_s = chance.uniform(0.3, most_wait_s)
        time.sleep(waited_s)
        children = run.children()
        if stops and children:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(children), signal.SIGSTOP)
            time.sleep(chance.uniform(0, 0.5))
        gone_s = run.end(signal.SIGTERM, PATIENCE_S)
        wrong = [*of_events(run), *of_journal(place, over=False)]
        wrong += [f"process {pid} is left" for pid in orphans(run, GONE_S)]
    finally:
        run.put_down()
    return Ended(megapixels, stops, waited_s, gone_s, run.busy_s, tuple(wrong))


def _at_work(run: Running) -> bool:
    return any(event.get("event") == "state" and event["frames_used"] for event in run.events())


def main() -> int:
    """Try so often, print each, and the longest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    tries = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.count):
            done = one(Place(Path(folder) / "station", Path(folder) / "logs"), chance, number)
            tries.append(done)
            gone = "never" if done.gone_s is None else f"{done.gone_s:.2f} s"
            child = "a child stopped" if done.stopped else "children well"
            after = f"{done.megapixels} Mpx, {child}, after {done.waited_s:.1f} s"
            print(
                f"{number}: {after}: gone in {gone}, {done.busy_s:.2f} s of work",
                *done.wrong,
                flush=True,
            )
    gone_s = sorted(done.gone_s if done.gone_s is not None else PATIENCE_S for done in tries)
    late = sum(seconds > GONE_S for seconds in gone_s)
    wrong = sum(bool(done.wrong) for done in tries)
    middle = gone_s[len(gone_s) // 2]
    busy_s = max(done.busy_s for done in tries)
    print(f"longest work of a processor {busy_s:.2f} s; load {os.getloadavg()[0]:.1f}")
    print(
        f"{len(tries)} signals: median {middle:.2f} s, longest {gone_s[-1]:.2f} s; "
        f"{late} later than {GONE_S:g} s; {wrong} with something wrong"
    )
    return int(bool(late or wrong))


if __name__ == "__main__":
    sys.exit(main())
