"""Run `edgeapl` with a wall clock that can be set: `python -m tests.faults.shifted_clock FILE ...`.

The file holds the seconds to add. Only the wall clock moves, and only in this process: the clock
that never jumps is the machine's, and so are the clocks of its children.
"""

from __future__ import annotations

import datetime
import sys
import time
from datetime import tzinfo
from pathlib import Path

_REAL_NS = time.time_ns


class _Shift:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._last = 0

    def seconds(self) -> int:
        """Give the seconds now; the last ones while the file is being written."""
        try:
            self._last = int(self._file.read_text() or self._last)
        except (OSError, ValueError):
            return self._last
        return self._last


def shift_clock(file: Path) -> None:
    """Let all that asks for the time from now on be told the shifted one."""
    shift = _Shift(file)

    def time_ns() -> int:
        return _REAL_NS() + shift.seconds() * 1_000_000_000

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Shifted:
            return cls.fromtimestamp(time_ns() / 1e9, tz)

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9
    datetime.datetime = Shifted  # type: ignore[misc]


if __name__ == "__main__":
    shift_clock(Path(sys.argv.pop(1)))
    from edgeapl.cli.main import main

    main()
