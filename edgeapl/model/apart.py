"""Call a function in a process of its own, which may hang, want all memory or crash.

What it refuses is raised here as it was raised there, so that nobody need try the same again.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import edgeapl
from edgeapl import errors
from edgeapl.errors import EdgeAplError, EngineError

REFUSED = 4
"""Exit code of the process when the function raised an error of ours."""

LEAST_BYTES = 2 << 30
SHARE = 0.9
"""Of the memory that is available now, for the process: more would end other programs."""

BOUNDED = "bounded"

_START = (
    "import sys; sys.path[0] = sys.argv.pop(1); "
    "from edgeapl.process.lifetime import end_with_parent; end_with_parent(); "
    "from edgeapl.model.apart import main; main()"
)


def call_apart(
    function: Callable[..., object],
    *arguments: Any,
    folder: Path,
    limit_s: float,
    bounded: bool = True,
) -> None:
    """Call a function of a module elsewhere and wait for its end; what it returns is lost.

    Parameters
    ----------
    function, arguments : must be picklable. folder : what it is about, for messages.
    limit_s : how long it may take.
    bounded : limit its memory; a driver of a GPU reserves more than it uses.

    Raises what the function raises of `EdgeAplError`, and EngineError when it does not come to an
    end or ends its process.
    """
    call = pickle.dumps((function, arguments))
    root = str(Path(edgeapl.__file__).parents[1])
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, our own module
            [sys.executable, "-c", _START, root, BOUNDED if bounded else ""],
            input=call,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        text = f"nothing came of its self-test in {limit_s:g} s; look for a loop without an end"
        raise EngineError("networks do not come to an end", folder, text) from error
    if done.returncode == 0:
        return
    if done.returncode == REFUSED and done.stdout:
        raise _refusal(done.stdout)
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    said = f": {lines[-1].strip()[:200]}" if lines else ""
    code = done.returncode
    ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    raise EngineError("networks end the process that runs them", folder, f"{ended}{said}")


def main() -> None:
    """Call what stands on the standard input; ends the process."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what a runtime prints is no answer
    if sys.argv.pop(1) == BOUNDED:
        _limit_memory()
    # It comes from the process that started this one.
    function, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301
    code = 0
    try:
        function(*arguments)
    except EdgeAplError as error:
        told = [type(error).__name__, error.what, error.which, error.mend]
        os.write(answer, json.dumps(told).encode())
        code = REFUSED
    sys.stdout.flush()
    os._exit(code)  # threads of a runtime have nothing more to say


def _refusal(answer: bytes) -> EdgeAplError:
    name, what, which, mend = json.loads(answer)
    kind: type[EdgeAplError] = getattr(errors, name)
    return kind(what, which, mend)


def _limit_memory() -> None:
    """Let a huge allocation fail, or this process be the one that the kernel ends."""
    with suppress(OSError, ValueError):
        limit = max(LEAST_BYTES, int(SHARE * _available_bytes()))
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _available_bytes() -> int:
    """Give the memory that is free or only a cache; raises OSError or ValueError when unknown."""
    with Path("/proc/meminfo").open(encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    raise ValueError("no MemAvailable")
