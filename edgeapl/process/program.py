"""Another program that is run to its end, or until its time is up."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from edgeapl.process.exit import wait_for_killed

MOST_OUTPUT_BYTES = 1 << 20
"""The end of what a program printed; the rest is not looked at."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended.

    code : its exit code, negative for a signal; None when it was killed as its time was up.
    output : the end of what it printed.
    """

    code: int | None
    output: bytes


def run_program(
    arguments: Sequence[str], limit_s: float, *, text: bytes = b"", with_errors: bool = True
) -> Finished:
    """Run a program, with all that it starts, for so many seconds at most.

    What it started is killed with it, and cannot hold its output open: that goes to a file.

    Parameters
    ----------
    text : its standard input. From a file: a program that reads nothing then blocks nobody.
    with_errors : what it prints on its standard error belongs to its output; else it is dropped.

    Raises OSError when it cannot be started.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:
        given.write(text)
        given.seek(0)
        process = subprocess.Popen(  # noqa: S603 - the caller says what is run
            arguments,
            stdin=given,
            stdout=output,
            stderr=output if with_errors else subprocess.DEVNULL,
            start_new_session=True,
        )
        code: int | None = None
        try:
            code = process.wait(limit_s)
        except BaseException as error:  # Ctrl-C as well: it does not reach a session of its own
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            wait_for_killed(process)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
        return Finished(code, _end(output.fileno()))


def _end(descriptor: int) -> bytes:
    start = max(0, os.fstat(descriptor).st_size - MOST_OUTPUT_BYTES)
    return os.pread(descriptor, MOST_OUTPUT_BYTES, start)
