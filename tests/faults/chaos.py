"""A station under random attacks: whatever is done to it, its promises hold.

    python -m tests.faults.chaos --minutes 60 [--seed 1] [--table FILE]

Each round starts a station on a camera or a drawn slide, attacks it, ends it by a random signal and
looks at all that it said and left behind; the next start takes up what was left open. Everything is
drawn from the seed, except the moments that the machine decides. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.chaos_attacks import ATTACKS, Attacked
from tests.faults.chaos_worlds import World, free_port, wait_until_up, worlds
from tests.faults.running import (
    Place,
    Running,
    cells_accounted,
    of_events,
    of_journal,
    orphans,
)

LIVE_S = 60.0
"""For a station to look through its camera; a busy machine takes its time."""

GONE_S = 20.0
"""For a station to be gone after a signal, beside other programs; `sigterm` has the promise."""

ORPHANS_S = 5.0
MOST_MORE_DESCRIPTORS = 24
"""Of connections that are just being closed, and files being written."""

DISK_MB = 256
ENDS = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT, "SIGKILL": signal.SIGKILL}
CODES = {0, 3, 5, 6, 7, 130, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT}
"""How a station may end here: 5 with a full disk, 6 when its camera is away at the first start, by
the signal itself while it still starts."""

NETWORK_FAILED = 4
HARM_NETWORKS = {"a child killed", "a child stopped"}
"""Only after these it may end with that."""


@dataclass(slots=True)
class Record:
    """What was done, and what was wrong afterwards."""

    made: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    gone_s: list[float] = field(default_factory=list)
    rounds: int = 0
    flagged: int = 0

    def add(self, did: list[str], problems: list[str]) -> None:
        """Count a round."""
        self.rounds += 1
        self.made.update(did)
        if problems:
            self.wrong.update(set(did))
            self.problems += problems


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Give a disk of its own to a folder; None where none can be mounted."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", str(folder)]
    try:
        mounted = not subprocess.run(mount, capture_output=True, check=False).returncode
    except FileNotFoundError:
        mounted = False
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def one_round(
    place: Place, world: World, disk: Path | None, chance: random.Random, number: int
) -> tuple[list[str], list[str], float | None, bool]:
    """Give what was done, what was wrong, the seconds of the end, and whether it was flagged."""
    port = free_port() if chance.random() < 0.4 else None
    page = () if port is None else ("--page", "--port", str(port))
    clock = _clock(place, chance)
    wait_until_up(world)
    slide = f"slide-{number}"
    run = Running.start(place, world.address, "--slide", slide, *world.options, *page, clock=clock)
    at = Attacked(run, world, chance, port, disk, clock)
    did, gone_s = [f"a station on {world.name}"], None
    try:
        live = run.until(lambda one: _live(one) or one.ended, LIVE_S)
        problems = [] if live or run.ended else [f"{slide}: not live on {world.name}"]
        before = run.descriptors() if live and not run.ended else None
        for name in chance.sample(sorted(ATTACKS), 4):
            if len(did) < 4 and not run.ended and ATTACKS[name](at):
                did.append(name)
                time.sleep(chance.uniform(0, 2))
        problems += _leaks(run, before)
        if run.ended and not at.full and not world.ends:
            problems.append(f"{slide}: ended by itself with {run.process.returncode}: {run.log}")
        end = chance.choice(sorted(ENDS))
        did.append(f"the end by {end}")
        gone_s = run.end(ENDS[end], GONE_S)
        if gone_s is None:
            problems.append(f"{slide}: not gone {GONE_S:g} s after {end}: {run.log}")
        elif run.process.returncode not in _codes(did):
            problems.append(f"{slide}: ended with {run.process.returncode}: {run.log}")
        problems += [f"{slide}: process {pid} is left" for pid in orphans(run, ORPHANS_S)]
    finally:
        run.put_down()
    problems += [*of_events(run), *of_journal(place, over=False), *cells_accounted(place)]
    return did, problems, gone_s, any(e.get("verdict") == "FLAG" for e in run.events())


def _codes(did: list[str]) -> set[int]:
    return CODES | {NETWORK_FAILED} if HARM_NETWORKS & set(did) else CODES


def _live(run: Running) -> bool:
    return any(e.get("event") == "camera" and e["state"] == "live" for e in run.events())


def _leaks(run: Running, before: int | None) -> list[str]:
    """Look for descriptors that stay open, once what is just closing is closed."""
    end = time.monotonic() + 5.0
    while before is not None and not run.ended:
        more = run.descriptors() - before
        if more <= MOST_MORE_DESCRIPTORS:
            break
        if time.monotonic() > end:
            return [f"{more} more descriptors than at the start: {run.log}"]
        time.sleep(0.2)
    return []


def _clock(place: Place, chance: random.Random) -> Path | None:
    """Give a station a clock that can be set, now and then."""
    if chance.random() < 0.5:
        return None
    clock = place.logs.parent / "clock"
    clock.write_text("0")
    return clock


def finish(place: Place, world: World) -> list[str]:
    """Start once more, without attacks, so that all slides get their verdict."""
    run = Running.start(
        place, world.address, "--slide", "last", "--max-frames", "3", *world.options
    )
    try:
        if not run.until(lambda one: one.ended, 2 * LIVE_S) and not run.ended:
            return [f"the last station does not end: {run.log}"]
        problems = [] if run.process.returncode == 0 else [f"last: {run.process.returncode}"]
    finally:
        run.put_down()
    return [*problems, *of_events(run), *of_journal(place, over=True), *cells_accounted(place)]


def attack(minutes: float, seed: int, folder: Path) -> tuple[Record, list[str]]:
    """Run rounds for so long; gives what came of them, and what this machine cannot do."""
    record, chance = Record(), random.Random(seed)
    end = time.monotonic() + 60 * minutes
    with small_disk(folder / "disk") as disk, worlds(folder, seed) as (all_worlds, lacking):
        place = Place((disk or folder / "disk") / "station", folder / "logs")
        if disk is None:
            lacking.append("a full disk: no small disk may be mounted here")
        while time.monotonic() < end:
            world = all_worlds[record.rounds % len(all_worlds)]
            did, problems, gone_s, flagged = one_round(place, world, disk, chance, record.rounds)
            record.add(did, problems)
            record.flagged += flagged
            record.gone_s += [] if gone_s is None else [gone_s]
            print(f"{record.rounds}: {', '.join(did)}: {'; '.join(problems) or 'held'}", flush=True)
        last = finish(place, all_worlds[1])
        record.problems += last
        print(f"all slides have one verdict: {'; '.join(last) or 'held'}")
    return record, lacking


def table(record: Record) -> str:
    """Give the table for the docs."""
    lines = ["| attack | count | result |", "|---|---|---|"]
    for name in sorted(record.made):
        result = (
            f"{record.wrong[name]} rounds with something wrong" if record.wrong[name] else "held"
        )
        lines.append(f"| {name} | {record.made[name]} | {result} |")
    return "\n".join(lines)


def main() -> int:
    """Attack, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", type=Path, help="write the table here as well")
    options = parser.parse_args()
    shared = set(os.listdir("/dev/shm"))  # noqa: PTH208 - names alone
    with tempfile.TemporaryDirectory(prefix="edgeapl-chaos-") as folder:
        record, lacking = attack(options.minutes, options.seed, Path(folder))
        if record.problems:
            kept = Path(tempfile.mkdtemp(prefix="edgeapl-chaos-logs-"))
            shutil.copytree(Path(folder) / "logs", kept, dirs_exist_ok=True)
            print(f"what the stations said is kept in {kept}")
    left = {name for name in set(os.listdir("/dev/shm")) - shared if "edgeapl" in name}  # noqa: PTH208
    record.problems += [f"shared memory is left: {name}" for name in sorted(left)]
    made = table(record)
    print(f"\n{made}\n")
    if options.table is not None:
        options.table.write_text(made + "\n")
    for what in lacking:
        print(f"left out: {what}")
    longest = max(record.gone_s, default=0.0)
    flags = f"{record.flagged} with a flag"
    print(f"{record.rounds} rounds, {flags}, seed {options.seed}, longest end {longest:.1f} s")
    for problem in record.problems:
        print(f"WRONG: {problem}")
    return int(bool(record.problems))


if __name__ == "__main__":
    sys.exit(main())
