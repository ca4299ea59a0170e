"""Keeps the process of networks alive: it opens, is heard, is ended when late, starts again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from edgeapl.engines.hosted.messages import Answer, Cancel, Failed, Open, Opened, Reply
from edgeapl.engines.hosted.process import EngineProcess
from edgeapl.engines.hosted.requests import Lost, PendingRequests
from edgeapl.errors import EngineError
from edgeapl.logs import warn
from edgeapl.process.exit import Exit
from edgeapl.process.memory import SharedMemory
from edgeapl.process.messages import MessageError
from edgeapl.process.restart import RestartBudget
from edgeapl.process.supervisor import Supervisor

GRACE_S = 0.3
"""How long a cancelled run may take to end. A deep network ends within 44 ms, as a cancel takes
effect between its nodes; one huge node took 1.3 s, and then the whole process is ended."""

AGAIN_S = 0.05
"""A cancel is sent again after this long: one that comes just before the run starts is lost."""

CLOSING_S = 0.5
"""How long the child may take to release its devices when the host is closed."""


class Reason(Enum):
    """Why a child is over."""

    CLOSED = auto()  # the host is closed
    LATE = auto()  # a cancelled run did not end
    BROKEN = auto()  # it breaks the rules, or could not open its networks
    FAILED = auto()  # it ends itself, as its device failed in a run that was told so
    DIED = auto()  # by itself


@dataclass(frozen=True, slots=True)
class End:
    """Why a child is over. error : what it is told with, where that is known."""

    reason: Reason
    error: EngineError | None = None


class EngineSupervisor(Supervisor[EngineProcess, End]):
    """Supervises the child of a host.

    Parameters
    ----------
    opening : what it opens. requests : told of every reply and every death.
    memory : as for `EngineProcess`. opening_s : how long opening may take.
    budget : how many deaths are too many.
    """

    def __init__(
        self,
        opening: Open,
        requests: PendingRequests,
        memory: Sequence[SharedMemory],
        opening_s: float,
        budget: RestartBudget,
    ) -> None:
        super().__init__("edgeapl-host")
        self._opening = opening
        self._names = ", ".join(one.name for group in opening.groups for one in group.networks)
        self._requests = requests
        self._memory = memory
        self._opening_s = opening_s
        self._budget = budget
        self.opened = Opened(())
        self.opened_in_s = 0.0
        self.deaths = 0
        self.ended_late = 0
        self.last_death = ""

    def _launch(self) -> EngineProcess:
        return EngineProcess(self._memory)

    def _attend(self, child: EngineProcess) -> End:
        try:
            return self._serve(child)
        except EngineError as error:
            return End(Reason.BROKEN, error)

    def _serve(self, child: EngineProcess) -> End:
        """Hear a child until its end; raises EngineError or MessageError when it must be ended."""
        started = time.monotonic()
        child.send(self._opening)
        opening_until = started + self._opening_s
        is_ready = False
        while not self._is_closing:
            given_up = self._requests.given_up()
            if given_up and self._is_late(min(given_up.values())):
                return End(Reason.LATE)
            for request in given_up:
                child.send(Cancel(request))
            pause_s = AGAIN_S if given_up else None if is_ready else self._opening_s
            messages = child.receive(pause_s, self._wakeup.descriptor)
            self._wakeup.clear()
            if messages is None:
                return End(Reason.DIED)
            for message in messages:
                self._take(child, message, is_ready=is_ready)
                if not is_ready:
                    is_ready, self.opened_in_s = True, time.monotonic() - started
                if isinstance(message, Failed) and message.is_last:
                    return End(Reason.FAILED, message.error())
            if not is_ready and time.monotonic() > opening_until:
                text = f"more than {self._opening_s:g} s"
                raise EngineError("networks took too long to open", self._names, text)
        return End(Reason.CLOSED)

    @property
    def _is_finishing(self) -> bool:
        """Whether all is over at a time that is set, so that no other child is started."""
        return self._requests.end_ns is not None

    def _is_late(self, given_up_ns: int) -> bool:
        """Return whether the child must be ended for a run that was given up at this time.

        At the very end there is no grace, but the child lives until the last deadline of all its
        groups: the head may still answer when runs of others were given up.
        """
        end_ns = self._requests.end_ns
        until_ns = given_up_ns + int(GRACE_S * 1e9) if end_ns is None else end_ns
        return time.monotonic_ns() > until_ns

    def _take(self, child: EngineProcess, message: Reply, *, is_ready: bool) -> None:
        """Handle one message; the first one makes the child ready."""
        if is_ready and isinstance(message, Answer | Failed):
            self._requests.answered(message)
        elif not is_ready and isinstance(message, Failed):
            raise message.error()
        elif not is_ready and isinstance(message, Opened):
            if not self.opened.networks:
                self.opened = message
            elif not message.can_replace(self.opened):
                raise self._changed(message)
            self._requests.ready(child)
        else:
            raise MessageError(f"unexpected message: {type(message).__name__}")

    def _changed(self, message: Opened) -> EngineError:
        """Return what is otherwise than when the networks were opened first, as an error."""
        before, now = self.opened.chain, message.chain
        if before is not None and now is not None and now.most_cells < before.most_cells:
            text = f"{now.most_cells} cells at once, {before.most_cells} at the start"
            mend = f"{text}: end other programs on the GPU, then start the station again"
            return EngineError("GPU memory is short", self._names, mend)
        text = "stop the station and look what was changed"
        return EngineError("networks are not what they were", self._names, text)

    def _confused(self, error: MessageError) -> End:
        what = "network process does not keep to the rules"
        return End(Reason.BROKEN, EngineError(what, "", str(error)))

    def _grace_s(self, end: End) -> float:
        is_wanted = end.reason in (Reason.LATE, Reason.BROKEN) or self._is_finishing
        return 0.0 if is_wanted else CLOSING_S

    def _not_started(self, error: OSError) -> float | None:
        text = error.strerror or type(error).__name__
        return self._after_death(
            EngineError("network process cannot be started", self._names, text)
        )

    def _ended(self, end: End, how: Exit) -> float | None:
        if end.reason is Reason.CLOSED:
            return None
        if end.reason is Reason.LATE:
            self.ended_late += 1
            text = "network process did not stop at its deadline; it was ended and is started again"
            warn("engines", "network_process_ended", text, ended_late=self.ended_late)
            self._requests.lost(Lost(may_repeat=True, text="a run in it did not end in time"))
            return self._next_s()
        error = end.error or EngineError("network process died", self._names, str(how))
        return self._after_death(error, may_repeat=end.reason is Reason.FAILED)

    def _after_death(self, error: EngineError, *, may_repeat: bool = False) -> float | None:
        """Note a death; returns as `_ended`.

        may_repeat : the runs that were under way were not at fault, and may be asked again.
        """
        self.deaths += 1
        self.last_death = str(error)
        warn("engines", "network_process_died", str(error), deaths=self.deaths)
        if not self.opened.networks:  # the first one: whoever opens the networks is told why not
            self._requests.refuse(error)
            return None
        may_restart = self._budget.allows_restart(time.monotonic())
        if not may_restart:
            text = (
                f"their process died {self._budget.restarts + 1} times within "
                f"{self._budget.within_s:g} s, last: {error}: look for too little memory or a "
                "damaged driver, then start the station again"
            )
            self._requests.refuse(EngineError("networks stay down", self._names, text))
        self._requests.lost(Lost(may_repeat, text=error.mend or error.what))
        return self._next_s() if may_restart else None

    def _next_s(self) -> float:
        """Return the seconds until the next child.

        After `finish` there is none, but callers still come to their deadline: they would take a
        refusal for a broken network.
        """
        return float("inf") if self._is_finishing else 0.0

    def _over(self) -> None:
        closed = EngineError("networks were closed", self._names, "open them again")
        self._requests.refuse(closed)
        self._requests.lost(Lost(may_repeat=True, text=""))
