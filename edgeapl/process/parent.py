"""The child's end: what its parent asks for, and what it is told."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable
from typing import Generic, TypeVar

from edgeapl.process.lifetime import ignore_stop_signals, write_no_core
from edgeapl.process.messages import READ_BYTES, VERSION_LINE, Codec, LineBuffer

Received = TypeVar("Received")
Sent = TypeVar("Sent")

BROKEN = 70
"""Exit code for a fault of this program itself; EX_SOFTWARE of sysexits.h."""


class Parent(Generic[Received, Sent]):
    """The connection of a child to the process that started it; from then on it depends on it.

    Parameters
    ----------
    requests, replies : the first two arguments of the child's command line, as descriptors.
    receives, sends : messages from the parent, and to it.
    """

    def __init__(
        self, requests: int, replies: int, receives: Codec[Received], sends: Codec[Sent]
    ) -> None:
        ignore_stop_signals()
        write_no_core()
        for descriptor in (requests, replies):
            os.set_inheritable(descriptor, False)
        self._requests = requests
        self._replies = replies
        self._receives = receives
        self._sends = sends
        self._lock = threading.Lock()
        self._write(VERSION_LINE)

    def send(self, message: Sent) -> None:
        """Send one message, whole, from any thread."""
        self._write(self._sends.encode(message))

    def listen(self, handle: Callable[[Received], None]) -> None:
        """Hand every message to a function, in a thread of its own.

        When the parent is gone, this process ends at once, whatever its other threads do. It also
        ends when the function fails or the parent breaks the rules: deaf it could not be stopped.
        """
        threading.Thread(
            target=self._listen, args=(handle,), name="edgeapl-parent", daemon=True
        ).start()

    def _listen(self, handle: Callable[[Received], None]) -> None:
        lines = LineBuffer()
        try:
            while data := os.read(self._requests, READ_BYTES):
                for line in lines.feed(data):
                    handle(self._receives.decode(line))
        except Exception:  # noqa: BLE001 - ends the process
            traceback.print_exc()
            os._exit(BROKEN)
        os._exit(0)

    def _write(self, line: bytes) -> None:
        left = memoryview(line)
        with self._lock:
            while left:
                left = left[os.write(self._replies, left) :]
