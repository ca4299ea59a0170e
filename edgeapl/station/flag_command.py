"""A program that runs when a slide is flagged: it sends a mail, turns on a light, tells a LIS."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edgeapl.errors import ConfigError
from edgeapl.process.exit import wait_for_killed
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
        with tempfile.TemporaryFile() as document_file, tempfile.TemporaryFile() as output:
            # From a file: a program that reads nothing then blocks nobody.
            document_file.write(text.encode("ascii"))
            document_file.seek(0)
            try:
                process = subprocess.Popen(  # noqa: S603 - the station's owner named it
                    self.arguments,
                    stdin=document_file,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            except OSError as error:
                return Outcome(False, f"could not be started: {error.strerror}")
            try:
                code = process.wait(self.limit_s)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                wait_for_killed(process)  # not for ever: it may hang in a driver
                return Outcome(False, f"did not end within {self.limit_s:g} s" + _last_line(output))
            if code == 0:
                return Outcome(True, "done")
            how = f"exit code {code}" if code > 0 else f"ended by signal {-code}"
            return Outcome(False, how + _last_line(output))


def _last_line(output: IO[bytes]) -> str:
    output.seek(0, os.SEEK_END)
    output.seek(max(0, output.tell() - 4096))
    lines = output.read().decode("utf-8", "replace").strip().splitlines()
    return f", {printable(lines[-1].strip()[:LONGEST_OUTPUT])}" if lines else ""
