"""Which requests the child has not answered, until when they may take, and which slots are free."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from edgeapl.engines.hosted.messages import Answer, Failed, Request
from edgeapl.engines.hosted.process import EngineProcess
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.process.messages import MessageError


@dataclass(frozen=True, slots=True)
class Limit:
    """How long one run may take by itself. until_ns : monotonic; None for any time."""

    network: str
    most_s: float | None
    until_ns: int | None


@dataclass(frozen=True, slots=True)
class Lost:
    """A request that gets no answer. may_repeat : it was not at fault and may be sent again."""

    may_repeat: bool
    text: str


@dataclass(slots=True, eq=False)
class PendingRequest:
    """One request.

    group : of its networks.
    given_up_ns : when its caller stopped waiting; its slot is free once the child has answered.
    """

    number: int
    group: str
    slot: int
    child: EngineProcess
    reply: Answer | Failed | Lost | None = None
    given_up_ns: int | None = None


class PendingRequests:
    """Callers enter, send, wait and leave; the supervisor tells what became of it.

    Groups of networks share the child alone: each has slots and a deadline of its own, and none
    waits for the others'.

    Parameters
    ----------
    groups : name to the requests at the same time; their slots are numbered one after another.
    """

    def __init__(self, groups: Mapping[str, int]) -> None:
        self._news = threading.Condition()
        numbers = iter(range(sum(groups.values())))
        self._free = {name: list(islice(numbers, slots)) for name, slots in groups.items()}
        self._slots = dict(groups)
        self._pending: dict[int, PendingRequest] = {}
        self._count = 0
        self._child: EngineProcess | None = None
        self._refusal: tuple[str, str, str] | None = None
        self._gone = ""
        self._deadlines_ns: dict[str, int | None] = dict.fromkeys(groups)
        self._last: set[str] = set()

    def set_deadline(self, group: str, at_ns: int | None, *, last: bool = False) -> None:
        """See `EngineHost.deadline`. last : and `EngineHost.finish`."""
        with self._news:
            if last or group not in self._last:
                self._deadlines_ns[group] = at_ns
            if last:
                self._last.add(group)
            self._news.notify_all()

    @property
    def end_ns(self) -> int | None:
        """When all is over for good: the last deadline of all groups; None until all have one."""
        with self._news:
            if len(self._last) < len(self._slots):
                return None
            return max(at_ns or 0 for at_ns in self._deadlines_ns.values())

    @property
    def child(self) -> EngineProcess | None:
        """The child that is ready; None while there is none."""
        return self._child

    @property
    def running(self) -> int:
        """Requests that were not answered, given up ones included."""
        return len(self._pending)

    def wait_for_child(self) -> None:
        """Wait until the first child is ready; raises EngineError when it will not be."""
        with self._news:
            self._news.wait_for(lambda: self._child or self._refusal)
            self._check()

    def enter(self, group: str, limit: Limit) -> PendingRequest:
        """Wait for a child and a free slot; raises DeadlineError, or EngineError when down."""
        free = self._free[group]
        with self._news:
            while True:
                self._check()
                left_s = self._left_s(group, limit)
                if self._child is not None and free:
                    self._count += 1
                    return PendingRequest(self._count, group, free.pop(), self._child)
                self._news.wait(left_s)

    def send(self, pending: PendingRequest, request: Request) -> None:
        """Send a request; when its child is gone the reply is that it was lost."""
        with self._news:
            if pending.child is self._child and pending.child.send(request):
                self._pending[pending.number] = pending
            else:
                pending.reply = Lost(may_repeat=True, text="")

    def wait(self, pending: PendingRequest, limit: Limit) -> Answer | Failed | Lost:
        """Wait for the reply; raises DeadlineError."""
        with self._news:
            while pending.reply is None:
                self._news.wait(self._left_s(pending.group, limit))
            return pending.reply

    def leave(self, pending: PendingRequest) -> bool:
        """Note that the caller is done with it, or gives it up; True when it is still running."""
        with self._news:
            if pending.number in self._pending:
                pending.given_up_ns = time.monotonic_ns()
                return True
            self._release(pending)
            return False

    def ready(self, child: EngineProcess) -> None:
        """Let callers use a child."""
        with self._news:
            self._child = child
            self._gone = ""
            self._news.notify_all()

    def answered(self, reply: Answer | Failed) -> None:
        """Hand a reply on; raises MessageError when nobody asked."""
        with self._news:
            pending = self._pending.pop(reply.request, None)
            if pending is None:
                raise MessageError(f"no such request: {reply.request}")
            self._finish(pending, reply)

    def given_up(self) -> dict[int, int]:
        """Return the requests that nobody waits for: number to the time of giving up, in ns."""
        with self._news:
            return {
                pending.number: pending.given_up_ns
                for pending in self._pending.values()
                if pending.given_up_ns is not None
            }

    def lost(self, lost: Lost) -> None:
        """Note that the child is gone, and every request with it."""
        with self._news:
            self._child = None
            self._gone = lost.text
            for pending in self._pending.values():
                self._finish(pending, lost)
            self._pending.clear()
            self._news.notify_all()

    def refuse(self, error: EngineError) -> None:
        """Refuse all further requests with this error; the first refusal stays."""
        with self._news:
            self._refusal = self._refusal or (error.what, error.which, error.mend)
            self._news.notify_all()

    @property
    def refusal(self) -> EngineError | None:
        """Why no request is taken any more, a new error for each caller."""
        return None if self._refusal is None else EngineError(*self._refusal)

    def wait_until_all_left(self, timeout_s: float) -> bool:
        """Wait for the callers; False when one is still in."""
        with self._news:
            return self._news.wait_for(self._all_free, timeout_s)

    def _all_free(self) -> bool:
        return all(len(self._free[name]) == slots for name, slots in self._slots.items())

    def _check(self) -> None:
        refusal = self.refusal
        if refusal is not None:
            raise refusal

    def _left_s(self, group: str, limit: Limit) -> float | None:
        now = time.monotonic_ns()
        ends = [end for end in (self._deadlines_ns[group], limit.until_ns) if end is not None]
        if not ends:
            return None
        if now < min(ends):
            return (min(ends) - now) / 1e9
        if limit.until_ns is not None and now >= limit.until_ns:
            text = f"more than {limit.most_s:g} s; {self._why}"
            raise DeadlineError("network took too long", limit.network, text)
        text = f"{self._why}; what it was asked about is not examined"
        raise DeadlineError("network gave no answer by the deadline", limit.network, text)

    @property
    def _why(self) -> str:
        """Why a run that was given up came to nothing."""
        if self._child is None and self._gone:
            return f"its process is being started again ({self._gone})"
        return "the run was cancelled"

    def _finish(self, pending: PendingRequest, reply: Answer | Failed | Lost) -> None:
        if pending.given_up_ns is None:
            pending.reply = reply
            self._news.notify_all()
        else:
            self._release(pending)

    def _release(self, pending: PendingRequest) -> None:
        self._free[pending.group].append(pending.slot)
        self._news.notify_all()
