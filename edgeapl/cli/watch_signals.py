"""SIGINT and SIGTERM while a station runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Signals:
    """Counts signals: SIGINT closes the slide; a second one, or SIGTERM, closes it at once.

    immediate : set once the slide is to be closed at once.
    """

    def __init__(self) -> None:
        self.count = 0
        self.immediate = threading.Event()

    def handle(self, number: int, _: object) -> None:
        """Handle a signal; a third one ends the program."""
        self.count += 1
        if number == signal.SIGTERM or self.count == 2:
            self.immediate.set()
        if self.count > 2:
            raise KeyboardInterrupt


@contextmanager
def handled_signals() -> Iterator[Signals]:
    """Handle SIGINT and SIGTERM inside the block."""
    signals = Signals()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signals.handle) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C inside the block, so that child processes are ended as well."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
