"""A real station with a page, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from edgeapl.model import EMBEDDED

Address = tuple[str, int]

DESCRIPTORS = 1024
"""What a service gets by default."""

DRAWN = "demo://apl?seed=1&width=640&height=480"


@contextmanager
def serving(
    folder: Path, source: str = DRAWN, *more: str
) -> Iterator[tuple[Address, subprocess.Popen[str]]]:
    """Let it look at drawn slides; gives where its page is.

    more : options; with ``--json`` what it prints can be read from the process.
    """
    process = subprocess.Popen(
        [
            *("sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh"),
            *(sys.executable, "-m", "edgeapl", "watch", source),
            *("--page", "--port", "0", "--slide", "first", "--budget", "5"),
            *("--um-per-px", "0.15", "--out", str(folder / "out")),
            *("--bundle", str(EMBEDDED)),
            *("--journal", str(folder / "journal.sqlite3"), *more),
        ],
        cwd=folder,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "XDG_STATE_HOME": str(folder)},
        stdout=subprocess.PIPE if "--json" in more else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    heard = list[str]()
    assert process.stderr is not None
    for line in process.stderr:
        heard.append(line)
        if found := re.match(r"page: (\S+)", line):
            break
    else:
        raise AssertionError("".join(heard))
    # Read on, so that it never waits for us; and what it says is told when something fails.
    reading = threading.Thread(target=lambda: heard.extend(process.stderr or ()), daemon=True)
    reading.start()
    where = urlsplit(found[1])
    try:
        yield (str(where.hostname), int(where.port or 0)), process
        assert process.poll() is None, "".join(heard)
    finally:
        process.kill()
        process.wait()
        reading.join()
        process.stderr.close()
        if process.stdout is not None:
            process.stdout.close()
        print("".join(heard[-20:]))
