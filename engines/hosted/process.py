"""The host's end of one child: started, told, heard, ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import edgeapl
from edgeapl.engines.hosted.shared import make_memory
from edgeapl.engines.hosted.wire import Message, from_line, to_line
from edgeapl.errors import EngineError

CHILD = "edgeapl.engines.hosted.child"

_START = (
    "from edgeapl.process.lifetime import end_with_parent; end_with_parent(); "
    "from importlib import import_module; import sys; import_module(sys.argv.pop(1)).main()"
)

MOST_LINE_BYTES = 16 << 10
"""A pipe holds 64 KiB. The host sends one request and a few cancels before it ends a child that
does not read them, so a write never waits."""

STUCK_S = 2.0
"""How long a killed process is waited for. One that hangs in a driver goes when the driver lets it,
and runs no line of ours any more; the station must not hang with it."""

READ_BYTES = 64 << 10

MOST_LAST_WORDS = 500
"""Bytes of the child's standard error that are looked at; one line of them is shown."""


class ChildProcess:
    """One started child.

    The thread that makes it must outlive it: Linux ends the child together with that thread.

    Parameters
    ----------
    memory : descriptors of the shared memory, for each slot that of inputs and that of outputs.

    Raises OSError when the system gives no process.
    """

    def __init__(self, memory: Sequence[int]) -> None:
        self._errors = make_memory("edgeapl-network-errors")
        os.ftruncate(self._errors, 0)
        asked, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        self._turn = threading.Lock()
        self._open = True
        self._unread = b""
        passed = (asked, answers, *memory)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, our own module
                [sys.executable, "-c", _START, CHILD, *map(str, passed)],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                pass_fds=passed,
                # Found there, installed or not; and no file of the user's folder is imported.
                cwd=Path(edgeapl.__file__).parents[1],
            )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(asked)
            os.close(answers)
        self.pid = self._process.pid

    def tell(self, message: Message) -> bool:
        """Send a message; False when the child is gone. Raises EngineError when it is too long."""
        line = to_line(message)
        if len(line) > MOST_LINE_BYTES:
            raise EngineError("request is too long", f"{len(line)} bytes", "use shorter names")
        with self._turn:
            if not self._open:
                return False
            try:
                os.write(self._requests, line)
            except BrokenPipeError:
                return False
        return True

    def hear(self, timeout_s: float | None, wake: int) -> list[Message] | None:
        """Give what the child said; None when it has said its last word.

        Returns early, with nothing, when the descriptor `wake` has something to read. Raises
        ValueError when it talks nonsense.
        """
        poll = select.poll()  # select knows no descriptor above 1023
        poll.register(self._answers, select.POLLIN)
        poll.register(wake, select.POLLIN)
        ready = poll.poll(None if timeout_s is None else timeout_s * 1000)
        if self._answers not in dict(ready):
            return []
        data = os.read(self._answers, READ_BYTES)
        if not data:
            return None
        *lines, self._unread = (self._unread + data).split(b"\n")
        return [from_line(line) for line in lines]

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def bury(self, wait_s: float = 0.0) -> str:
        """Make sure that it is gone and say in words how it ended.

        wait_s : how long it may end by itself, once its pipe is closed.
        """
        self._close_requests()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(wait_s)
        self._process.kill()
        cause = self._cause()
        said = self._last_words()
        self._close()
        return f"{cause}: {said}" if said else cause

    def _cause(self) -> str:
        try:
            code = self._process.wait(STUCK_S)
        except subprocess.TimeoutExpired:
            return "killed, but held by a driver"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _last_words(self) -> str:
        """Give the last line of what it wrote to its standard error."""
        start = max(0, os.fstat(self._errors).st_size - MOST_LAST_WORDS)
        said = os.pread(self._errors, MOST_LAST_WORDS, start).decode("utf-8", "replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def _close_requests(self) -> None:
        with self._turn:
            if self._open:
                os.close(self._requests)
            self._open = False

    def _close(self) -> None:
        self._close_requests()
        os.close(self._answers)
        os.close(self._errors)
