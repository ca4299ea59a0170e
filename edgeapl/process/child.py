"""The parent's end of a child process: started, sent to, received from, ended."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Generic, TypeVar

import edgeapl
from edgeapl.process.exit import Exit, in_words, wait_for_killed
from edgeapl.process.memory import nameless_file
from edgeapl.process.messages import (
    MOST_REQUEST_BYTES,
    READ_BYTES,
    Codec,
    LineBuffer,
    check_version,
)

Sent = TypeVar("Sent")
Received = TypeVar("Received")

_START = (
    "import sys; sys.path[0] = sys.argv.pop(1); "
    "from edgeapl.process.lifetime import end_with_parent; end_with_parent(); "
    "from importlib import import_module; import_module(sys.argv.pop(1)).main()"
)
"""Like ``-m MODULE``, which would import a json.py of the working folder."""

LAST_WORDS_BYTES = 500
"""Of what a child printed that are looked at; one line of them is shown."""

MOST_PRINTED_BYTES = 1 << 20
"""What a child printed is kept in memory and forgotten at this size; drivers print for days."""


def module_command(module: str) -> list[str]:
    """Return the command that calls `main` of a module of ours; what is added are its arguments."""
    root = str(Path(edgeapl.__file__).parents[1])
    return [sys.executable, "-c", _START, root, module]


class ChildProcess(Generic[Sent, Received]):
    """A started child; its module's `main` makes a `Parent` of the first two arguments.

    The thread that makes it must outlive it: Linux ends the child together with that thread.

    Parameters
    ----------
    module : to be imported there.
    sends, receives : messages to the child, and from it.
    arguments : for its `main`, after the two of `Parent`.
    descriptors : open files that it inherits under the same numbers.

    Raises OSError when the system gives no process.
    """

    def __init__(
        self,
        module: str,
        sends: Codec[Sent],
        receives: Codec[Received],
        *,
        arguments: Sequence[str] = (),
        descriptors: Sequence[int] = (),
    ) -> None:
        self._sends = sends
        self._receives = receives
        self._lines = LineBuffer()
        self._is_greeted = False
        self._lock = threading.Lock()
        self._exit: Exit | None = None
        with ExitStack() as undo, ExitStack() as of_child:
            self._printed = _opened(undo, _printed_file())
            request_end, self._requests = os.pipe()
            _opened(of_child, request_end)
            _opened(undo, self._requests)
            self._replies, reply_end = os.pipe()
            _opened(of_child, reply_end)
            _opened(undo, self._replies)
            passed = (request_end, reply_end)
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, our own module
                [*module_command(module), *map(str, passed), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=self._printed,
                pass_fds=(*passed, *descriptors),
            )
            undo.pop_all()
        self._accepts_requests = True
        self.pid = self._process.pid

    def send(self, message: Sent) -> bool:
        """Send a message, from any thread; False when the child is gone.

        Raises MessageError when it is longer than `MOST_REQUEST_BYTES`.
        """
        line = self._sends.encode(message, MOST_REQUEST_BYTES)
        with self._lock:
            if not self._accepts_requests:
                return False
            try:
                os.write(self._requests, line)
            except BrokenPipeError:
                return False
        return True

    def receive(self, timeout_s: float | None, wakeup: int | None = None) -> list[Received] | None:
        """Wait for messages; None when the child has sent its last.

        Returns early, with nothing, when there is something to read at the descriptor `wakeup`.
        Raises MessageError when the child breaks the rules; it is then to be ended.
        """
        poll = select.poll()  # select knows no descriptor above 1023
        poll.register(self._replies, select.POLLIN)
        if wakeup is not None:
            poll.register(wakeup, select.POLLIN)
        ready = dict(poll.poll(None if timeout_s is None else timeout_s * 1000))
        if self._replies not in ready:
            # A process that the child left behind may hold the pipe open.
            return None if not ready and self._process.poll() is not None else []
        data = os.read(self._replies, READ_BYTES)
        if not data:
            return None
        self._forget_printed()
        lines = self._lines.feed(data)
        if lines and not self._is_greeted:
            check_version(lines.pop(0))
            self._is_greeted = True
        return [self._receives.decode(line) for line in lines]

    def end(self, grace_s: float = 0.0) -> Exit:
        """Make sure that it is gone and return how it ended; a second call says the same.

        Takes no longer than `grace_s` and `STUCK_S` together, whatever the child does.

        Parameters
        ----------
        grace_s : how long it may take to end by itself, once its pipe is closed.
        """
        if self._exit is None:
            if grace_s > 0:
                self._close_requests()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(grace_s)
            self._process.kill()
            self._close_requests()
            self._exit = self._wait()
            os.close(self._replies)
            os.close(self._printed)
        return self._exit

    def _wait(self) -> Exit:
        code = wait_for_killed(self._process)
        if code is None:
            return Exit("killed, but held by a driver", self._last_words(), is_stuck=True)
        torn = " in the middle of a message" if self._lines.is_torn else ""
        return Exit(in_words(code) + torn, self._last_words())

    def _last_words(self) -> str:
        start = max(0, os.fstat(self._printed).st_size - LAST_WORDS_BYTES)
        said = os.pread(self._printed, LAST_WORDS_BYTES, start).decode("utf-8", "replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def _forget_printed(self) -> None:
        if os.fstat(self._printed).st_size > MOST_PRINTED_BYTES:
            os.ftruncate(self._printed, 0)

    def _close_requests(self) -> None:
        with self._lock:
            if self._accepts_requests:
                os.close(self._requests)
            self._accepts_requests = False


def _opened(stack: ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _printed_file() -> int:
    """Open a file in memory that a child's output is appended to, even after it was emptied."""
    descriptor = nameless_file("edgeapl-output")
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND | fcntl.fcntl(descriptor, fcntl.F_GETFL))
    return descriptor
