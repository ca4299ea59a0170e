"""Score the same slides by one process on one core, and by a cluster of this machine, in turns.

    python -m tests.data.measure_cluster [--slides 1000] [--rounds 5] [--workers 2] [--home FOLDER]

Slides have one drawn frame of 1280 x 960 px each, all of them different. Counted from the first
verdict to the last one, so that starting is left out: time by the clock, and the processor time of
the program and of its workers. Where other programs run meanwhile, processor time tells more than
time: as many cores as workers can do `one / (program + workers)` times the work of as many single
processes. Prints a line for every round, and one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from edgeapl.cluster.task import SlideTask, examine_task
from edgeapl.model import EMBEDDED, open_model
from edgeapl.scoring import ScoreRequest
from edgeapl.scoring.folder import slides_of
from edgeapl.scoring.resume import content_digest
from edgeapl.scoring.slides import ScoringContext
from tests.data.measure_folder import UM_PER_PX, drawn, folder_of

TICKS = os.sysconf("SC_CLK_TCK")
COUNTED = 20
"""Slides whose tasks and answers are counted in bytes."""


@dataclass(frozen=True)
class Rate:
    """What one slide takes, in seconds: by the clock, of the program, and of its workers."""

    clock: float
    program: float
    workers: float

    @property
    def processor(self) -> float:
        return self.program + self.workers


def processor_s(root: int) -> tuple[float, float]:
    """Processor time of a process, and of all its descendants that still run."""
    parents, used = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            parents[pid], used[pid] = int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return used[root], sum(used[pid] for pid in family - {root})


def rate(command: list[str], slides: int) -> Rate:
    """Run `edgeapl score`, and measure from its first verdict to its last one."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    first = last = (0.0, 0.0, 0.0)
    seen = 0
    for line in process.stderr:
        if re.match(r"slide-[0-9]+: (FLAG|REVIEW|CLEAR)$", line.strip()):
            seen += 1
            if seen in (1, slides):
                now = (time.monotonic(), *processor_s(process.pid))
                first, last = (now, last) if seen == 1 else (first, now)
    assert process.wait() == 0
    assert seen == slides, f"{seen} verdicts"
    clock, program, workers = ((b - a) / (slides - 1) for a, b in zip(first, last, strict=True))
    return Rate(clock, program, workers)


def one_round(folder: Path, home: Path, options: argparse.Namespace) -> dict[str, Rate]:
    slides = len([*folder.iterdir()])
    ways = {"one": [], "cluster": ["--cluster", f"local:{options.workers}"]}
    rates = {}
    for name, further in ways.items():
        where = [
            "--out",
            str(home / name / folder.name),
            "--journal",
            str(home / f"{name}.sqlite3"),
        ]
        command = [sys.executable, "-m", "edgeapl", "score", str(folder), *where, *further]
        command += ["--um-per-px", str(UM_PER_PX), "--bundle", str(options.bundle)]
        pinned = [] if further else ["taskset", "-c", "0"]
        rates[name] = rate([*pinned, *command], slides)
    return rates


def sizes(folder: Path, bundle: Path) -> dict[str, float]:
    """Bytes of the tasks and answers of some slides, as they are sent."""
    tasks, answers = [], []
    with open_model(bundle) as model, tempfile.TemporaryDirectory() as out:
        request = ScoreRequest(folder, Path(out), um_per_px=UM_PER_PX)
        found = slides_of(request)
        for slide in found.slides[:COUNTED]:
            context = ScoringContext.of(found).of_slide(slide)
            digests = tuple(content_digest(file) for file in slide.files)
            task = SlideTask(slide, request, context, Path.cwd(), digests)
            tasks.append(len(pickle.dumps(task)))
            answers.append(len(pickle.dumps(examine_task(task, model))))
    return {"task_bytes": median(tasks), "answer_bytes": median(answers)}


def summary(rounds: list[dict[str, Rate]], workers: int) -> dict[str, Any]:
    def middle(values: list[float]) -> float:
        return round(median(values), 4)

    one, cluster = ([each[name] for each in rounds] for name in ("one", "cluster"))
    ratios = [a.clock / b.clock for a, b in zip(one, cluster, strict=True)]
    work = [a.processor / b.processor for a, b in zip(one, cluster, strict=True)]
    return {
        "rounds": len(rounds),
        "one_clock_s": middle([each.clock for each in one]),
        "one_processor_s": middle([each.processor for each in one]),
        "cluster_clock_s": middle([each.clock for each in cluster]),
        "program_processor_s": middle([each.program for each in cluster]),
        "workers_processor_s": middle([each.workers for each in cluster]),
        "times_one_process_by_the_clock": [round(each, 3) for each in sorted(ratios)],
        "of_as_many_single_processes_by_processor_time": [round(each, 3) for each in sorted(work)],
        "workers": workers,
    }


def main() -> None:
    """Print what every round measured, and the middle of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--bundle", type=Path, default=EMBEDDED)
    parser.add_argument("--home", type=Path, help="where frames are kept for another time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary).resolve()
        frames = (options.home or home).resolve() / "drawn"
        frames.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(1, get_context("spawn")) as other:
            files = other.submit(drawn, frames, options.slides).result()
        each = options.slides // options.rounds
        rounds = []
        for number in range(options.rounds):
            mine = files[number * each : (number + 1) * each]
            folder = folder_of(mine, home / f"round-{number}", each, each)
            rounds.append(one_round(folder, home, options))
            sys.stdout.write(f"round {number + 1}: {rounds[-1]}\n")
            sys.stdout.flush()
        counted = sizes(home / "round-0", options.bundle)
    told = {**summary(rounds, options.workers), **counted}
    sys.stdout.write(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
