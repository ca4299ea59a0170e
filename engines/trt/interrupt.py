"""Let Ctrl-C end long work in a library of C++ without taking Python away from under it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")

LOOK_S = 0.1  # how soon Ctrl-C is seen


def run_interruptible(work: Callable[[], Result], stop: threading.Event) -> Result:
    """Do work in a thread of its own; Ctrl-C sets `stop`, and the work is waited for.

    In the caller's thread the work would not let Ctrl-C in before its end. An exception in the
    midst of starting or awaiting the thread, as Ctrl-C raises one, could leave the library at
    work in an interpreter that ends; so the signal only leaves a mark until the work is over.

    Raises what the work raised, or KeyboardInterrupt.
    """
    result: list[Result] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            errors.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=run, name="interruptible", daemon=True)
    with _interrupts_set(stop):
        thread.start()
        while not done.wait(LOOK_S):
            pass
        thread.join()
    if errors:
        raise errors[0]
    return result[0]


@contextmanager
def _interrupts_set(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C set the mark, and raise only at the end; signals reach the main thread alone."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (
        signal.SIG_IGN,
        None,
    ):
        yield
        return
    seen: list[int] = []

    def note(number: int, _: object) -> None:
        seen.append(number)
        stop.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if seen:
        signal.raise_signal(signal.SIGINT)  # to the one it was for
        raise KeyboardInterrupt
