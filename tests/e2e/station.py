"""Run the command line as a user would: a process of its own, a state folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    @property
    def error_lines(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


@dataclass(frozen=True)
class Station:
    """A folder to work in."""

    folder: Path
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        state = str(self.folder / "state")
        return {**os.environ, "XDG_STATE_HOME": state, "COLUMNS": "100", "NO_COLOR": "1"}

    def run(self, *arguments: str | Path, timeout: float = 120) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "edgeapl", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        return Done(
            done.returncode,
            done.stdout.decode("utf-8"),
            done.stderr.decode("utf-8", "replace"),
        )

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "edgeapl", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        """End what a failed test left running: it would look at drawn slides for ever."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.communicate()
