"""Start the capture process and speak with it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from edgeapl.capture.messages import Message, from_line
from edgeapl.capture.slots import Slots, make_memory
from edgeapl.types import UInt8

_PIECE = 1 << 16

_START = (
    "import sys; sys.path[0] = sys.argv.pop(1); "
    "from edgeapl.orphans import end_with_parent; end_with_parent(); "
    "from edgeapl.capture.child import main; main()"
)
"""Like ``-m edgeapl.capture.child``, which would import a json.py of the working folder."""


class Capture(Protocol):
    """What the supervisor needs of a capture process; tests give their own."""

    def messages(self, timeout_s: float) -> list[Message]:
        """Wait for messages; none after the timeout or when the process has ended."""

    def ended(self) -> str | None:
        """Give how the process ended in words, or None while it runs."""

    def picture(self, slot: int, height: int, width: int) -> UInt8:
        """Give a copy of the picture in a slot."""

    def give_back(self, slot: int) -> None:
        """Let the process use a slot again."""

    def kill(self) -> None:
        """End it whatever it does; a second call does nothing."""


class CaptureProcess:
    """Implements Capture with `edgeapl.capture.child` in a process of its own."""

    def __init__(self, address: str) -> None:
        memory = make_memory()
        told, tell = os.pipe()
        returned, give = os.pipe()
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed by kill
        root = str(Path(__file__).parents[2])
        command = [sys.executable, "-c", _START, root, address]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [*command, str(memory), str(tell), str(returned)],
                pass_fds=(memory, tell, returned),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._words,
            )
            self._slots = Slots(memory)
        finally:
            for descriptor in (memory, tell, returned):
                os.close(descriptor)
        self._told, self._give = told, give
        self._rest = b""
        self._open = True

    def messages(self, timeout_s: float) -> list[Message]:
        """Wait for messages; raises ValueError when the process writes anything else."""
        ready, _, _ = select.select([self._told], [], [], timeout_s)
        if not ready:
            return []
        piece = os.read(self._told, _PIECE)
        if not piece:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
            return []
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [from_line(line) for line in lines]

    def ended(self) -> str | None:
        """Give how the process ended, with the last line of what it said."""
        code = self._process.poll()
        if code is None:
            return None
        how = f"exit code {code}" if code >= 0 else _signal_name(-code)
        said = self._last_words()
        return f"{how}, {said}" if said else how

    def picture(self, slot: int, height: int, width: int) -> UInt8:
        """Give a copy of the picture in a slot."""
        return self._slots.read(slot, height, width)

    def give_back(self, slot: int) -> None:
        """Let the process use a slot again; nothing happens when it has ended."""
        with suppress(BrokenPipeError):
            os.write(self._give, bytes([slot]))

    def kill(self) -> None:
        """End it at once: a driver that hangs does not listen to anything gentler."""
        if not self._open:
            return
        self._open = False
        self._process.kill()
        self._process.wait()
        os.close(self._told)
        os.close(self._give)
        self._words.close()

    def _last_words(self) -> str:
        self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, self._words.tell() - 4096))
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""


def _signal_name(number: int) -> str:
    try:
        return f"ended by {signal.Signals(number).name}"
    except ValueError:
        return f"ended by signal {number}"
