"""The process of the networks: ``python -m edgeapl.engines.hosted.child``, started by the host.

It opens the networks, runs them as it is told and answers. It never decides anything: when it
hangs or crashes, the host ends it and starts another.
"""

from __future__ import annotations

import ctypes
import os
import queue
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from edgeapl.engines.hosted.shared import Region
from edgeapl.engines.hosted.wire import (
    OPENING,
    Answer,
    Cancel,
    Described,
    Message,
    Open,
    Opened,
    Run,
    Trouble,
    from_line,
    to_line,
    trouble_of,
)
from edgeapl.errors import EdgeAplError, EngineError
from edgeapl.protocols import Engine

BROKEN = 70
"""Exit code for a fault of this program itself; EX_SOFTWARE of sysexits.h."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


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
        self._turn = threading.Lock()
        # Call to the engine and thread that are at it; None while it waits, or when cancelled.
        self._open: dict[int, tuple[Engine, int] | None] = {}
        self._cancelled: set[int] = set()
        threading.Thread(target=self._listen, name="edgeapl-requests", daemon=True).start()

    def opening(self) -> Open:
        """Wait for what is to be opened."""
        return self._opening.get()

    def next(self) -> Run:
        """Wait for a run."""
        return self._runs.get()

    def begin(self, call: int, engine: Engine) -> bool:
        """Note that this thread starts with a call; False when it was cancelled by now."""
        with self._turn:
            self._open[call] = engine, threading.get_ident()
            return call not in self._cancelled

    def end(self, call: int) -> None:
        """Note that it is over, so that a late cancel can not hit the next one."""
        with self._turn:
            del self._open[call]
            self._cancelled.discard(call)

    def _listen(self) -> None:
        try:
            for line in self._pipe:
                self._take(from_line(line))
        except Exception:  # noqa: BLE001 - ends the process: without ears it can not be stopped
            traceback.print_exc()
            os._exit(BROKEN)
        # The station is gone: a network that hangs must not keep this process alive.
        os._exit(0)

    def _take(self, message: Message) -> None:
        if isinstance(message, Open):
            self._opening.put(message)
        elif isinstance(message, Run):
            with self._turn:
                self._open[message.call] = None
            self._runs.put(message)
        elif isinstance(message, Cancel):
            self._cancel(message.call)

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


class Worker:
    """Runs networks, one at a time. slots : (memory of inputs, memory of outputs)."""

    def __init__(
        self,
        engines: dict[str, Engine],
        slots: Sequence[tuple[Region, Region]],
        requests: Requests,
        tell: Teller,
    ) -> None:
        self._engines = engines
        self._slots = slots
        self._requests = requests
        self._tell = tell

    def work(self) -> None:
        """Answer for as long as the process lives."""
        try:
            while True:
                self._tell(self._answer(self._requests.next()))
        except BaseException:  # noqa: BLE001 - ends the process, so that nobody waits for it
            traceback.print_exc()
            os._exit(BROKEN)

    def _answer(self, run: Run) -> Answer | Trouble:
        engine = self._engines[run.network]
        given, made = self._slots[run.slot]
        try:
            if not self._requests.begin(run.call, engine):
                raise EngineError("run was cancelled", run.network)
            outputs = engine.run(given.take(run.arrays))
            return Answer(run.call, made.put(outputs))
        except EdgeAplError as error:
            return trouble_of(run.call, error)
        finally:
            self._requests.end(run.call)


def main() -> None:
    """Serve the host; the command line holds the numbers of the inherited file descriptors."""
    asked, answers, *memory = map(int, sys.argv[1:])
    _depend_on_the_station()
    requests = Requests(open(asked, "rb"))  # noqa: SIM115, PTH123 - until the end
    tell = Teller(answers)
    regions = [Region(descriptor) for descriptor in memory]
    slots = list(zip(regions[::2], regions[1::2], strict=True))
    try:
        engines = {network.name: network.open() for network in requests.opening().networks}
    except EdgeAplError as error:
        tell(trouble_of(OPENING, error))
        return
    tell(Opened(tuple(_describe(name, engine) for name, engine in engines.items())))
    worker = Worker(engines, slots, requests, tell)
    for _ in slots[1:]:
        threading.Thread(target=worker.work, name="edgeapl-networks", daemon=True).start()
    worker.work()


def _describe(name: str, engine: Engine) -> Described:
    inputs = tuple((key, dtype, tuple(shape)) for key, (dtype, shape) in engine.inputs.items())
    return Described(name, engine.runtime, engine.digest, inputs, tuple(engine.outputs))


def _depend_on_the_station() -> None:
    # Ctrl-C and a stop of the service reach the whole group; the station needs its networks for
    # the last batch and ends this process when it is done with it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Writing a core of a gigabyte would hold up the next start.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):  # elsewhere than on Linux the closed pipe must do
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # When memory runs out this process shall go, not the one with the slide.
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


if __name__ == "__main__":
    main()
