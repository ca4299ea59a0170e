"""What other processes do to a journal in the fault tests: python -m tests.faults.journal_worker.

commit PATH COUNT : commit so many verdicts; prints each hash once it was acknowledged, when the
    reserve was given up, and the error that ended it, if any.
limited PATH COUNT BYTES : the same with files that cannot grow beyond so many bytes.
verify PATH : print the number of rows and of problems.
kill PATH ROUNDS SEED MOST : fork a child that commits without end, wait for some rows, MOST at
    most, and a random moment more, kill it, verify; so many times. Prints one JSON document.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from edgeapl.errors import StorageError
from edgeapl.journal import Journal, verify
from edgeapl.types import Decision, Interval, Reason, RoleCount, Tally, Verdict


def make_verdict(number: int, frames: int = 3) -> Verdict:
    return Verdict(
        slide=f"slide {number}",
        decision=Decision.REVIEW,
        probability=0.25,
        interval=Interval(0.125, 0.5),
        tally=Tally(seen=4, scored=2, not_examined=1, failed=1),
        reasons=(Reason("few_cells", "only 2 cells could be scored"),),
        counts=(RoleCount("promyelocyte", 1, 2, 0.5, Interval(0.1, 0.9)),),
        evidence=(3, 1),
        frames=tuple((f"frame {i}.png", f"{i:064x}") for i in range(frames)),
        timings={"segment": 0.5, "classify": 0.25},
        bundle_digest="b" * 64,
        engine_digest="e" * 64,
        runtime="onnxruntime 1.31.1 CPUExecutionProvider",
    )


def commit(path: Path, count: int) -> None:
    told = False
    try:
        with Journal.open(path, reserve_bytes=1 << 16) as journal:
            for number in range(count):
                digest = journal.commit(make_verdict(number))
                if journal.reserve_used and not told:
                    told = True
                    say("reserve used")
                say(digest)
    except StorageError as error:
        say(f"error: {error}")


def say(line: str) -> None:
    """Print in one piece, as the readers of a trace expect."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def limited(path: Path, count: int, size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    commit(path, count)


def count_problems(path: Path) -> None:
    report = verify(path)
    say(f"rows {report.rows}, problems {len(report.problems)}")


def kill(path: Path, rounds: int, seed: int, most: int) -> None:
    chance = random.Random(seed)
    acknowledged: list[str] = []
    problems: list[str] = []
    for _ in range(rounds):
        acknowledged += _one_life(path, chance.randint(0, most), chance.uniform(0, 0.004))
        if path.exists():
            problems += _problems(path)
    say(json.dumps({"acknowledged": acknowledged, "problems": problems}))


def _one_life(path: Path, rows: int, seconds: float) -> list[str]:
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        _commit_forever(path, into)
    os.close(into)
    with os.fdopen(out, encoding="ascii") as pipe:
        lines = [pipe.readline() for _ in range(rows)]
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        lines += pipe.readlines()
    return [line.strip() for line in lines if line.endswith("\n")]


def _commit_forever(path: Path, into: int) -> None:
    try:
        with Journal.open(path, reserve_bytes=1 << 16) as journal:
            for number in range(10**6):
                os.write(into, f"{journal.commit(make_verdict(number))}\n".encode())
    except StorageError as error:
        os.write(into, f"error: {error}\n".encode())
    finally:
        os._exit(1)


def _problems(path: Path) -> list[str]:
    try:
        return [str(problem) for problem in verify(path).problems]
    except StorageError as error:
        # Killed before the first row was made; opening it again must still work.
        return [] if error.what == "there is no journal" else [str(error)]


def main(arguments: list[str]) -> None:
    doings: dict[str, Any] = {
        "commit": commit,
        "limited": limited,
        "verify": count_problems,
        "kill": kill,
    }
    what, path, *numbers = arguments
    doings[what](Path(path), *map(int, numbers))


if __name__ == "__main__":
    main(sys.argv[1:])
