"""A program that runs when a slide is flagged: it sends a mail, turns on a light, tells a LIS."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl.errors import ConfigError
from edgeapl.process.program import run_program
from edgeapl.wording.printable import printable

LIMIT_S = 30.0
"""Longest run, seconds; then the program is killed."""
LONGEST_OUTPUT = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run. text : in plain words, with the program's last line of output."""

    succeeded: bool
    text: str


@dataclass(frozen=True, slots=True)
class FlagCommand:
    """A program and its arguments. No shell sees them, and no text of a slide becomes one.

    limit_s : longest run, seconds.
    """

    arguments: tuple[str, ...]
    limit_s: float = LIMIT_S

    @classmethod
    def parse(cls, text: str) -> FlagCommand:
        """Parse a command line. Raises ConfigError when there is no such program."""
        try:
            arguments = shlex.split(text)
        except ValueError as error:
            mend = f"close its quotes ({error})"
            what = "command for flags is not understood"
            raise ConfigError(what, printable(text), mend) from error
        if not arguments:
            raise ConfigError("command for flags is empty", "", "name a program, or leave it out")
        found = shutil.which(arguments[0])
        if found is None:
            mend = "give the path of a program that may be run"
            raise ConfigError("command for flags is no program", printable(arguments[0]), mend)
        return cls((str(Path(found).absolute()), *arguments[1:]))

    @property
    def name(self) -> str:
        """The program without its arguments, which may be secret."""
        return self.arguments[0]

    def run(self, document: Mapping[str, Any]) -> Outcome:
        """Run it with a JSON document on its standard input and wait for it. Never raises."""
        text = json.dumps(document, allow_nan=False, ensure_ascii=True) + "\n"
        try:
            done = run_program(self.arguments, self.limit_s, text=text.encode("ascii"))
        except OSError as error:
            return Outcome(False, f"could not be started: {error.strerror}")
        if done.code == 0:
            return Outcome(True, "done")
        how = f"did not end within {self.limit_s:g} s"
        if done.code is not None:
            code = done.code
            how = f"exit code {code}" if code > 0 else f"ended by signal {-code}"
        return Outcome(False, how + _last_line(done.output))


def _last_line(output: bytes) -> str:
    lines = output[-4096:].decode("utf-8", "replace").strip().splitlines()
    return f", {printable(lines[-1].strip()[:LONGEST_OUTPUT])}" if lines else ""
