"""A bundle is opened and tests itself in a process of its own before it is opened here.

A network may loop for ever, want more memory than there is, or crash its runtime: the process then
ends, and not the program. What passed is remembered by the bundle's digest, so that only its first
start on a machine takes longer.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import edgeapl
from edgeapl.bundle.digest import sha256_of_parts
from edgeapl.bundle.load import open_bundle
from edgeapl.bundle.trust import Trust
from edgeapl.engines.store.cache import cache_folder
from edgeapl.engines.store.here import runtime_version
from edgeapl.errors import EdgeAplError, EngineError
from edgeapl.orphans import end_with_parent

LIMIT_S = 90.0
"""For all networks to open and to answer the golden cells and slides."""

REFUSED = 4
"""Exit code of the process when it refuses the bundle by itself: then so does whoever asked."""

LEAST_BYTES = 2 << 30
SHARE = 0.9
"""Of the memory that is free now, for the process: more would end other programs."""

_START = "import sys; sys.path[0] = sys.argv.pop(1); from edgeapl.model.trial import main; main()"


def try_out(folder: Path, trust: Trust | None = None, limit_s: float = LIMIT_S) -> None:
    """Open a bundle with its own networks elsewhere, unless this was done before.

    Parameters
    ----------
    folder : the bundle. trust : what the station asks of it: what is not trusted is not run.
    limit_s : how long it may take.

    Raises BundleError when its files are not whole, and EngineError when a network does not come to
    an end or ends the process. What the bundle is refused for otherwise is raised by who opens it.
    """
    bundle = open_bundle(folder)
    if trust is not None:
        trust.check(bundle)
    mark = _mark(bundle.digest)
    if mark.exists():
        return
    code, said = _run(folder, limit_s)
    if code == 0:
        with suppress(OSError):  # it is tried again next time
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
    elif code is None:
        text = f"nothing came of its self-test in {limit_s:g} s; look for a loop without an end"
        raise EngineError("networks do not come to an end", folder, text)
    elif code != REFUSED:
        ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        text = f"{ended}{': ' if said else ''}{said}"
        raise EngineError("networks end the process that runs them", folder, text)


def _mark(digest: str) -> Path:
    versions = [edgeapl.__version__, runtime_version("onnxruntime"), sys.version]
    return cache_folder().parent / "tried" / sha256_of_parts([digest, *versions])


def _run(folder: Path, limit_s: float) -> tuple[int | None, str]:
    """Give the exit code, None when it had to be ended, and the last line that it said."""
    root = str(Path(edgeapl.__file__).parents[1])
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, our own module
            [sys.executable, "-c", _START, root, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, ""
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return done.returncode, lines[-1].strip()[:200] if lines else ""


def main() -> None:
    """Open the bundle of the command line; ends the process."""
    from edgeapl.model.opening import open_model  # noqa: PLC0415 - after the limits

    end_with_parent()
    _limit_memory()
    try:
        open_model(Path(sys.argv[1])).close()
    except EdgeAplError:
        code = REFUSED
    else:
        code = 0
    sys.stdout.flush()
    os._exit(code)  # threads of a runtime have nothing more to say


def _limit_memory() -> None:
    """Let a huge allocation fail, or this process be the one that the kernel ends."""
    with suppress(OSError, ValueError):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        limit = max(LEAST_BYTES, int(SHARE * free))
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
