"""The child's ends of the pipes: what the host asks for, and what it is told."""

from __future__ import annotations

import os
import queue
import threading
import traceback
from typing import BinaryIO, Protocol, runtime_checkable

from edgeapl.engines.hosted.wire import (
    Cancel,
    Drop,
    Finish,
    Judge,
    Message,
    Open,
    Put,
    Run,
    from_line,
    to_line,
)

BROKEN = 70
"""Exit code for a fault of this program itself; EX_SOFTWARE of sysexits.h."""

OfChain = Put | Judge | Finish | Drop
"""What concerns the chain: done one after another, in the order in which it was asked for."""


@runtime_checkable
class Cancellable(Protocol):
    """An engine that can end a run early; of the others the whole process is ended."""

    def cancel(self, thread: int) -> None:
        """End the run that this thread has under way."""


class Requests:
    """What the host asks for, read in a thread of its own: a cancel must pass a run under way."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._opening: queue.Queue[Open] = queue.Queue()
        self._runs: queue.Queue[Run] = queue.Queue()
        self._of_chain: queue.Queue[OfChain] = queue.Queue()
        self._turn = threading.Lock()
        # Call to what runs it and the thread that is at it; None while it waits, or when cancelled.
        self._open: dict[int, tuple[object, int] | None] = {}
        self._cancelled: set[int] = set()
        threading.Thread(target=self._listen, name="edgeapl-requests", daemon=True).start()

    def opening(self) -> Open:
        """Wait for what is to be opened."""
        return self._opening.get()

    def next(self) -> Run:
        """Wait for a run."""
        return self._runs.get()

    def next_of_chain(self) -> OfChain:
        """Wait for something that concerns the chain."""
        return self._of_chain.get()

    def begin(self, call: int, runner: object) -> bool:
        """Note that this thread starts with a call; False when it was cancelled by now."""
        with self._turn:
            self._open[call] = runner, threading.get_ident()
            return call not in self._cancelled

    def end(self, call: int) -> None:
        """Note that it is over, so that a late cancel cannot hit the next one."""
        with self._turn:
            del self._open[call]
            self._cancelled.discard(call)

    def _listen(self) -> None:
        try:
            for line in self._pipe:
                self._take(from_line(line))
        except Exception:  # noqa: BLE001 - ends the process: without ears it cannot be stopped
            traceback.print_exc()
            os._exit(BROKEN)
        # The station is gone: a network that hangs must not keep this process alive.
        os._exit(0)

    def _take(self, message: Message) -> None:
        if isinstance(message, Open):
            self._opening.put(message)
        elif isinstance(message, Cancel):
            self._cancel(message.call)
        elif isinstance(message, Run | Put | Judge):
            with self._turn:
                self._open[message.call] = None
        if isinstance(message, Run):
            self._runs.put(message)
        elif isinstance(message, Put | Judge | Finish | Drop):
            self._of_chain.put(message)

    def _cancel(self, call: int) -> None:
        with self._turn:
            if call not in self._open:
                return
            self._cancelled.add(call)
            at = self._open[call]
            if at is not None and isinstance(at[0], Cancellable):
                at[0].cancel(at[1])


class Teller:
    """Sends messages to the host, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._turn = threading.Lock()

    def __call__(self, message: Message) -> None:
        """Send one message, whole."""
        line = memoryview(to_line(message))
        with self._turn:
            while line:
                line = line[os.write(self._descriptor, line) :]
