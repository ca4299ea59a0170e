"""All that only a GPU can show, in one command that needs nobody and takes under ten minutes.

    python -m tests.gpu.check --json OUT [--frames SLIDES] [--bundle DIR ...] [--minutes 9]
    python -m tests.gpu.check --json OUT --dry-run

Every check leaves a record. What could not be run is a failure like any other, with the reason: a
check that passes because nothing was looked at is worth nothing. Each runs in a process of its own,
as a GPU that failed in one answers nothing in the same process afterwards. With `--dry-run` all
are made, in a few rounds, on the fake driver. Research use only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tests.gpu import on_chain, on_machine, on_memory, on_networks, on_onnxruntime, on_time
from tests.gpu.record import Record, read, write
from tests.gpu.site import Site

CHECKS: dict[str, Callable[[Site], dict[str, Any]]] = {
    "machine": on_machine.machine,
    "memory.copies": on_memory.copies,
    "memory.other_interface": on_memory.other_interface,
    "memory.out_of_memory": on_memory.out_of_memory,
    "memory.leaks": on_memory.leaks,
    "chain.answers": on_chain.answers,
    "parity.fp32": partial(on_networks.parity, precision="fp32"),
    "parity.fp16": partial(on_networks.parity, precision="fp16"),
    "parity.int8": partial(on_networks.parity, precision="int8"),
    "onnxruntime.cuda": on_onnxruntime.onnxruntime_cuda,
    "time.first_run": on_time.first_run,
    "time.stages": on_time.stages,
    "time.frame": on_time.frame,
    "time.against_torch": on_time.against_torch,
    "time.against_trtexec": on_time.against_trtexec,
    "sanitizer": on_machine.sanitizer,
}

LONGEST_S = 150.0
"""For one check: one that hangs must leave time for the others."""


def made(name: str, site: Site) -> Record:
    """Make one check here."""
    start = time.perf_counter()
    try:
        figures = CHECKS[name](site)
    except Exception as error:  # noqa: BLE001 - whatever went wrong is what the record is for
        why = " ".join(str(error).split()) or type(error).__name__
        return Record(
            name, False, time.perf_counter() - start, why=f"{type(error).__name__}: {why}"
        )
    return Record(name, True, time.perf_counter() - start, figures)


def made_apart(name: str, arguments: list[str], left_s: float) -> Record:
    """Make one check in a process of its own."""
    if left_s <= 0:
        return Record(name, False, 0.0, why="not run: no time was left")
    start, limit = time.perf_counter(), min(left_s, LONGEST_S)
    command = [sys.executable, "-m", "tests.gpu.check", "--only", name, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
        return read((done.stdout.strip().splitlines() or [""])[-1])
    except subprocess.TimeoutExpired:
        return Record(name, False, time.perf_counter() - start, why=f"more than {limit:.0f} s")
    except ValueError:
        said = " ".join(done.stderr.split())[-300:]
        why = f"its process ended with {done.returncode}: {said}"
        return Record(name, False, time.perf_counter() - start, why=why)


def main(arguments: list[str]) -> int:
    """Make all checks; gives 0 when every one passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where all records go")
    parser.add_argument("--frames", type=Path, help="folder of real slides")
    parser.add_argument("--bundle", type=Path, action="append", default=[])
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
    handed = [one for one in arguments if not one.startswith("--json")]
    if "--json" in arguments:
        handed = [*arguments]
        at = handed.index("--json")
        del handed[at : at + 2]
    records: list[Record] = []
    for name in CHECKS:
        if site.dry:
            record = made(name, site)
        else:
            record = made_apart(name, handed, until - time.perf_counter())
        records.append(record)
        print(f"{'ok  ' if record.passed else 'FAIL'} {name} {record.seconds:.1f} s {record.why}")
        write(asked.json, records, dry=site.dry)  # after each: what was found is not lost
    return 0 if all(record.passed for record in records) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
