"""How much slower a bundle is while other programs keep cores busy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgeapl.bench.candidate import Candidate
from edgeapl.bench.rounds import ROUNDS, frames_of_round
from edgeapl.bench.runner import Deadline, PipelineRunner
from edgeapl.bench.statistics import paired_ratio
from edgeapl.bench.time_limit import NO_LIMIT, TimeLimit
from edgeapl.bench.workload import Workload
from edgeapl.closable import ClosesItself
from edgeapl.cores import cpu_cores
from edgeapl.errors import UsageError
from edgeapl.journal import Journal
from edgeapl.process.exit import wait_for_killed

SPIN = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
while os.getppid() == int(sys.argv[1]):
    for _ in range(100_000): pass
"""
"""Ends silently on Ctrl-C, and when the bench is gone."""


class BusyPrograms(ClosesItself):
    """Programs that each keep a core busy, but only inside `running`.

    Parameters
    ----------
    count : number of programs.

    Raises UsageError where programs cannot be suspended and resumed, as on Windows.
    """

    def __init__(self, count: int) -> None:
        if not hasattr(signal, "SIGSTOP"):
            raise UsageError("programs cannot be suspended here", os.name, "leave --busy out")
        self._programs = [
            subprocess.Popen(  # noqa: S603 - this interpreter
                [sys.executable, "-S", "-c", SPIN, str(os.getpid())]
            )
            for _ in range(count)
        ]
        self._tell(signal.SIGSTOP)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let them run inside the `with` block."""
        self._tell(signal.SIGCONT)
        try:
            yield
        finally:
            self._tell(signal.SIGSTOP)

    @property
    def pids(self) -> tuple[int, ...]:
        """Their process numbers."""
        return tuple(program.pid for program in self._programs)

    def close(self) -> None:
        """Stop them."""
        for program in self._programs:
            program.kill()
        for program in self._programs:
            wait_for_killed(program)

    def _tell(self, what: signal.Signals) -> None:
        for program in self._programs:
            with suppress(ProcessLookupError):
                program.send_signal(what)


def measure_busy(
    candidate: Candidate,
    workload: Workload,
    count: int,
    limit: TimeLimit = NO_LIMIT,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Run the pipeline on a slide with and without `count` busy programs, alternately.

    slow_down : time with them over time without. fair : the expected value if every thread
    gets the same share of the cores: (workers x threads + programs) / cores, or 1.

    limit : no round begins after it; fewer than `LEAST_PAIRS` rounds give no interval.
    say : told of every round.
    """
    slide = workload.slides[0]
    quiet_s, busy_s = [], []
    with (
        BusyPrograms(count) as programs,
        tempfile.TemporaryDirectory(prefix="edgeapl-busy-") as folder,
        Journal.open(Path(folder) / "journal.sqlite3") as journal,
    ):
        runner = PipelineRunner(candidate, journal, None)
        most = frames_of_round(runner, slide, limit)

        def quiet() -> None:
            quiet_s.append(runner.run(slide, most, Deadline()).seconds)

        def busy() -> None:
            with programs.running():
                busy_s.append(runner.run(slide, most, Deadline()).seconds)

        for number in range(ROUNDS):
            if number and limit.over:
                break
            say(f"busy programs: round {number + 1} of {ROUNDS}")
            for run in (quiet, busy) if number % 2 == 0 else (busy, quiet):
                run()
    ratio = paired_ratio(busy_s, quiet_s)
    own = candidate.model.workers * candidate.threads
    return {
        "programs": count,
        "slow_down": ratio.value,
        "slow_down_interval": None if ratio.interval is None else list(ratio.interval),
        "fair": max(1.0, (own + count) / cpu_cores()),
        "frames_per_round": most,
        "rounds": [[q * 1e3, b * 1e3] for q, b in zip(quiet_s, busy_s, strict=True)],
    }
