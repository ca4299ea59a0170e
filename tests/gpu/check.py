"""All that only a GPU can show, in one command that needs nobody and takes under ten minutes.

    python -m tests.gpu.check --json OUT [--frames SLIDES] [--bundle DIR ...] [--export RECIPE ...]
    python -m tests.gpu.check --json OUT --dry-run

Every check leaves a record. What could not be run is a failure like any other, with the reason: a
check that passes because nothing was looked at is worth nothing. Each runs in a process of its own,
as a GPU that failed in one answers nothing in the same process afterwards; one that hangs is left
behind, and time is kept for all that come after it. With `--export` bundles of published recipes
are made first, at random weights, where torch is installed. With `--dry-run` all checks are made,
in a few rounds, on the fake driver. Research use only.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tests.gpu import (
    on_chain,
    on_machine,
    on_memory,
    on_networks,
    on_onnxruntime,
    on_station,
    on_time,
)
from tests.gpu.apart import run_apart
from tests.gpu.record import Record, UnmetError, read, write
from tests.gpu.site import Site

CHECKS: dict[str, Callable[[Site], dict[str, Any]]] = {
    "machine": on_machine.machine,
    "memory.copies": on_memory.copies,
    "memory.other_interface": on_memory.other_interface,
    "memory.out_of_memory": on_memory.out_of_memory,
    "memory.leaks": on_memory.leaks,
    "chain.answers": on_chain.answers,
    "time.first_run": on_time.first_run,
    "time.stages": on_time.stages,
    "time.frame": on_time.frame,
    "station.one_process": on_station.one_process,
    "onnxruntime.cuda": on_onnxruntime.onnxruntime_cuda,
    "onnxruntime.frame": on_onnxruntime.frame,
    "parity.fp32": partial(on_networks.parity, precision="fp32"),
    "parity.fp16": partial(on_networks.parity, precision="fp16"),
    "parity.int8": partial(on_networks.parity, precision="int8"),
    "time.against_torch": on_time.against_torch,
    "time.against_trtexec": on_time.against_trtexec,
    "sanitizer": on_machine.sanitizer,
}

LONGEST_S = 150.0
"""For one check: one that hangs must leave time for the others."""

KEPT_S = 20.0
"""For each check that is still to come, whatever those before it took."""

EXPORT_S = 180.0
"""For making one bundle, and at most half of what is left."""


def made(name: str, site: Site) -> Record:
    """Make one check here."""
    start = time.perf_counter()
    try:
        figures = CHECKS[name](site)
    except Exception as error:  # noqa: BLE001 - whatever went wrong is what the record is for
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
        figures = error.figures if isinstance(error, UnmetError) else {}
        return Record(name, False, time.perf_counter() - start, figures, why)
    return Record(name, True, time.perf_counter() - start, figures)


def made_apart(name: str, arguments: list[str], left_s: float, to_come: int = 0) -> Record:
    """Make one check in a process of its own. to_come : checks after it."""
    limit = min(left_s, LONGEST_S, max(KEPT_S, left_s - KEPT_S * to_come))
    if limit <= 0:
        return Record(name, False, 0.0, why="not run: no time was left")
    ended = run_apart(["-m", "tests.gpu.check", "--only", name, *arguments], limit)
    if ended.code is None:
        return Record(name, False, ended.seconds, why=f"more than {limit:.0f} s{ended.left}")
    try:
        return read((ended.said.strip().splitlines() or [""])[-1])
    except ValueError:
        wrong = " ".join(ended.wrong.split())[-300:]
        why = f"its process ended with {ended.code}: {wrong}"
        return Record(name, False, ended.seconds, why=why)


def exported(recipe: str, folder: Path, left_s: float) -> Record:
    """Make a bundle of a recipe at random weights, which takes torch."""
    limit = min(left_s / 2, EXPORT_S)
    command = ["export", recipe, "--random-weights", "1", "--out", str(folder)]
    ended = run_apart(["-m", "edgeapl", *command], limit)
    why = "" if ended.code == 0 else f"{recipe}: {' '.join(ended.wrong.split())[-300:]}"
    if ended.code is None:
        why = f"{recipe}: more than {limit:.0f} s{ended.left}"
    return Record(f"export.{recipe}", not why, ended.seconds, why=why)


def main(arguments: list[str]) -> int:
    """Make all checks; gives 0 when every one passed."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--json", type=Path, help="where all records go")
    parser.add_argument("--frames", type=Path, help="folder of real slides")
    parser.add_argument("--bundle", type=Path, action="append", default=[])
    parser.add_argument("--export", action="append", default=[], help="recipe to make a bundle of")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--only", choices=CHECKS, help="print the record of one check")
    parser.add_argument("--short", action="store_true", help="few rounds, on the real GPU")
    asked = parser.parse_args(arguments)
    site = Site(asked.dry_run, tuple(asked.bundle), asked.frames, short=asked.short)
    if asked.only:
        record = made(asked.only, site)
        print(json.dumps(asdict(record)))
        return 0 if record.passed else 1
    if asked.json is None:
        parser.error("give --json OUT")
    until = time.perf_counter() + 60 * asked.minutes
    records: list[Record] = []

    def note(record: Record) -> None:
        records.append(record)
        passed = "ok  " if record.passed else "FAIL"
        print(f"{passed} {record.name} {record.seconds:.1f} s {record.why}", flush=True)
        write(asked.json, records, dry=site.dry)  # after each: what was found is not lost

    with tempfile.TemporaryDirectory() as made_here:
        bundles = list(asked.bundle)
        for recipe in asked.export:
            folder = Path(made_here) / recipe
            note(exported(recipe, folder, until - time.perf_counter()))
            bundles += [folder] if records[-1].passed else []
        handed = _handed(asked, bundles)
        for number, name in enumerate(CHECKS):
            if site.dry:
                note(made(name, site))
            else:
                to_come = len(CHECKS) - number - 1
                note(made_apart(name, handed, until - time.perf_counter(), to_come))
    return 0 if all(record.passed for record in records) else 1


def _handed(asked: argparse.Namespace, bundles: list[Path]) -> list[str]:
    """Return the arguments for the process of one check, which runs in another folder."""
    given = [] if asked.frames is None else ["--frames", str(asked.frames.resolve())]
    for one in bundles:
        given += ["--bundle", str(one.resolve())]
    return [*given, "--short"] if asked.short else given


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
