"""The thread of the host that starts the child, hears it, ends it and starts it again."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, auto

from edgeapl.engines.hosted.budget import RestartBudget
from edgeapl.engines.hosted.calls import Calls, Lost
from edgeapl.engines.hosted.process import ChildProcess
from edgeapl.engines.hosted.wire import (
    Answer,
    Cancel,
    Message,
    Open,
    Opened,
    Trouble,
)
from edgeapl.errors import EngineError
from edgeapl.logs import warn

GRACE_S = 0.3
"""How long a cancelled run may take to end. A deep network ends within 44 ms, as a cancel takes
effect between its nodes; one huge node took 1.3 s, and then the whole process is ended."""

AGAIN_S = 0.05
"""A cancel is sent again after this long: one that comes just before the run starts is lost."""

CLOSING_S = 0.5
"""How long the child may take to let go of its devices when the host is closed."""

MOST_WAKES = 64 << 10
"""All that a pipe can hold."""


class _End(Enum):
    CLOSED = auto()  # the host is closed
    LATE = auto()  # ended by the keeper, as a cancelled run did not end
    FAILED = auto()  # ends itself, as its device failed in a run that was told so
    DIED = auto()  # by itself


class Keeper:
    """Keeps one child alive.

    Parameters
    ----------
    opening : what it opens. calls : told of every reply and every death.
    memory : as for `ChildProcess`. opening_s : how long opening may take.
    budget : how many deaths are too many.
    """

    def __init__(
        self,
        opening: Open,
        calls: Calls,
        memory: Sequence[int],
        opening_s: float,
        budget: RestartBudget,
    ) -> None:
        self._opening = opening
        self._names = ", ".join(network.name for network in opening.networks)
        self._calls = calls
        self._memory = memory
        self._opening_s = opening_s
        self._budget = budget
        self._closing = False
        self._finishing = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.opened = Opened(())
        self.deaths = 0
        self.ended_late = 0
        self.last_death = ""
        self._fault = EngineError("network process died", self._names)
        # One thread for as long as the host lives: see `ChildProcess`.
        self._thread = threading.Thread(target=self._keep, name="edgeapl-host", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Let it look at once whether a run was given up."""
        with suppress(BlockingIOError):  # full: it wakes anyway
            os.write(self._wake_write, b"\0")

    def finish(self) -> None:
        """Give runs no grace any more, and start no other child."""
        self._finishing = True
        self.wake()

    def close(self) -> None:
        """End the child and the thread; to be called once."""
        self._closing = True
        self.wake()
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _keep(self) -> None:
        try:
            while self._one_life():
                if self._finishing:
                    self._wait_for_close()
                    break
        finally:
            # However it ends, nobody may wait for a child that will not come.
            self._calls.refuse(EngineError("networks were closed", self._names, "open them again"))
            self._calls.lost(Lost(again=True, text=""))

    def _wait_for_close(self) -> None:
        """Let callers come to their deadline; they would take a refusal for a broken network."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        while not self._closing:
            poll.poll()
            self._slept_off()

    def _one_life(self) -> bool:
        """Start a child and attend to it until its end; True when another shall be started."""
        try:
            child = ChildProcess(self._memory)
        except OSError as error:
            text = error.strerror or type(error).__name__
            return self._after_death(
                EngineError("network process cannot be started", self._names, text)
            )
        trouble: EngineError | None = None
        end = _End.DIED
        try:
            end = self._attend(child)
        except EngineError as error:
            trouble = error
        except ValueError as error:
            trouble = EngineError("network process does not keep to the rules", "", str(error))
        finally:
            if end is _End.LATE or trouble is not None:
                child.kill()
            cause = child.bury(0.0 if self._finishing else CLOSING_S)
        if end is _End.CLOSED:
            return False
        if end is _End.LATE:
            self.ended_late += 1
            text = "network process did not stop at its deadline; it was ended and is started again"
            warn("engines", "network_process_ended", text, ended_late=self.ended_late)
            self._calls.lost(Lost(again=True, text=""))
            return True
        if end is _End.FAILED:
            return self._after_death(self._fault, again=True)
        return self._after_death(trouble or EngineError("network process died", self._names, cause))

    def _after_death(self, trouble: EngineError, *, again: bool = False) -> bool:
        """Note a death; True when another child shall be started.

        again : the runs that were under way were not at fault, and may be asked again.
        """
        self.deaths += 1
        self.last_death = str(trouble)
        warn("engines", "network_process_died", str(trouble), deaths=self.deaths)
        if not self.opened.networks:  # the first one: whoever opens the networks is told why not
            self._calls.refuse(trouble)
            return False
        restart = self._budget.restart_after_death(time.monotonic_ns())
        if not restart:
            text = (
                f"their process died {self._budget.deaths} times within "
                f"{self._budget.within_s:g} s, last: {trouble}: look for too little memory or a "
                "damaged driver, then start the station again"
            )
            self._calls.refuse(EngineError("networks stay down", self._names, text))
        self._calls.lost(Lost(again, text=trouble.mend or trouble.what))
        return restart

    def _attend(self, child: ChildProcess) -> _End:
        """Hear a child until its end; raises EngineError or ValueError when it must be ended."""
        child.tell(self._opening)
        opening_until = time.monotonic() + self._opening_s
        ready = False
        while not self._closing:
            given_up = self._calls.given_up()
            grace_s = 0.0 if self._finishing else GRACE_S
            if given_up and time.monotonic_ns() - min(given_up.values()) > grace_s * 1e9:
                return _End.LATE
            for call in given_up:
                child.tell(Cancel(call))
            pause_s = AGAIN_S if given_up else None if ready else self._opening_s
            messages = child.hear(pause_s, self._wake_read)
            self._slept_off()
            if messages is None:
                return _End.DIED
            for message in messages:
                ready = self._take(child, message, ready=ready)
                if isinstance(message, Trouble) and message.last:
                    self._fault = message.error()
                    return _End.FAILED
            if not ready and time.monotonic() > opening_until:
                text = f"more than {self._opening_s:g} s"
                raise EngineError("networks took too long to open", self._names, text)
        return _End.CLOSED

    def _changed(self, message: Opened) -> EngineError:
        """Say what is otherwise than when the networks were opened first."""
        before, now = self.opened.chain, message.chain
        if before is not None and now is not None and now.most_cells < before.most_cells:
            text = f"{now.most_cells} cells at once, {before.most_cells} at the start"
            mend = f"{text}: end other programs on the GPU, then start the station again"
            return EngineError("GPU memory is short", self._names, mend)
        text = "stop the station and look what was changed"
        return EngineError("networks are not what they were", self._names, text)

    def _slept_off(self) -> None:
        """Empty the pipe of `wake`: what it was woken for is looked at next."""
        with suppress(BlockingIOError):
            os.read(self._wake_read, MOST_WAKES)

    def _take(self, child: ChildProcess, message: Message, *, ready: bool) -> bool:
        """Handle one message; gives whether the child is ready."""
        if ready and isinstance(message, Answer | Trouble):
            self._calls.answered(message)
        elif not ready and isinstance(message, Trouble):
            raise message.error()
        elif not ready and isinstance(message, Opened):
            if self.opened.networks and message != self.opened:
                raise self._changed(message)
            self.opened = message
            self._calls.ready(child)
        else:
            raise ValueError(f"unexpected message: {type(message).__name__}")
        return True
