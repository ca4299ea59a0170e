"""The book of the host: which slots are free, which runs are under way, and until when."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from edgeapl.engines.hosted.process import ChildProcess
from edgeapl.engines.hosted.wire import Answer, Request, Trouble
from edgeapl.errors import DeadlineError, EngineError


@dataclass(frozen=True, slots=True)
class Limit:
    """How long one run may take by itself. until_ns : monotonic; None for any time."""

    network: str
    most_s: float | None
    until_ns: int | None


@dataclass(frozen=True, slots=True)
class Lost:
    """A run that gets no answer. again : it was not at fault and may be asked again."""

    again: bool
    text: str


@dataclass(slots=True, eq=False)
class Call:
    """One run. given_up_ns : when its caller stopped waiting; the slot is not free until then."""

    number: int
    slot: int
    child: ChildProcess
    reply: Answer | Trouble | Lost | None = None
    given_up_ns: int | None = None


class Calls:
    """Callers enter, send, wait and leave; the keeper tells what became of it.

    Parameters
    ----------
    slots : runs at the same time.
    """

    def __init__(self, slots: int) -> None:
        self._news = threading.Condition()
        self._slots = slots
        self._free = list(range(slots))
        self._under_way: dict[int, Call] = {}
        self._count = 0
        self._child: ChildProcess | None = None
        self._refusal: tuple[str, str, str] | None = None
        self._deadline_ns: int | None = None
        self._deadline_is_last = False

    def set_deadline(self, at_ns: int | None, *, last: bool = False) -> None:
        """See `EngineHost.deadline`. last : and `EngineHost.finish`."""
        with self._news:
            if last or not self._deadline_is_last:
                self._deadline_ns = at_ns
            self._deadline_is_last |= last
            self._news.notify_all()

    @property
    def child(self) -> ChildProcess | None:
        """The child that is ready; None while there is none."""
        return self._child

    @property
    def running(self) -> int:
        """Runs under way, given up ones included."""
        return len(self._under_way)

    def wait_for_child(self) -> None:
        """Wait until the first child is ready; raises EngineError when it will not be."""
        with self._news:
            self._news.wait_for(lambda: self._child or self._refusal)
            self._check()

    def enter(self, limit: Limit) -> Call:
        """Wait for a child and a free slot; raises DeadlineError, or EngineError when down."""
        with self._news:
            while True:
                self._check()
                left_s = self._left_s(limit)
                if self._child is not None and self._free:
                    self._count += 1
                    return Call(self._count, self._free.pop(), self._child)
                self._news.wait(left_s)

    def send(self, call: Call, request: Request) -> None:
        """Send the request of a call; when its child is gone the reply is that it was lost."""
        with self._news:
            if call.child is self._child and call.child.tell(request):
                self._under_way[call.number] = call
            else:
                call.reply = Lost(again=True, text="")

    def wait(self, call: Call, limit: Limit) -> Answer | Trouble | Lost:
        """Wait for the reply; raises DeadlineError."""
        with self._news:
            while call.reply is None:
                self._news.wait(self._left_s(limit))
            return call.reply

    def leave(self, call: Call) -> bool:
        """Say that the caller is done with it, or gives it up; True when it is still running."""
        with self._news:
            if call.number in self._under_way:
                call.given_up_ns = time.monotonic_ns()
                return True
            self._release(call)
            return False

    def ready(self, child: ChildProcess) -> None:
        """Let callers use a child."""
        with self._news:
            self._child = child
            self._news.notify_all()

    def answered(self, reply: Answer | Trouble) -> None:
        """Hand a reply on; raises ValueError when nobody asked."""
        with self._news:
            call = self._under_way.pop(reply.call, None)
            if call is None:
                raise ValueError(f"no such call: {reply.call}")
            self._finish(call, reply)

    def given_up(self) -> dict[int, int]:
        """Give the runs that nobody waits for: number to the monotonic time of giving up."""
        with self._news:
            return {
                call.number: call.given_up_ns
                for call in self._under_way.values()
                if call.given_up_ns is not None
            }

    def lost(self, lost: Lost) -> None:
        """Note that the child is gone, and every run with it."""
        with self._news:
            self._child = None
            for call in self._under_way.values():
                self._finish(call, lost)
            self._under_way.clear()
            self._news.notify_all()

    def refuse(self, error: EngineError) -> None:
        """Refuse all further runs with this error; the first refusal stays."""
        with self._news:
            self._refusal = self._refusal or (error.what, error.which, error.mend)
            self._news.notify_all()

    @property
    def refusal(self) -> EngineError | None:
        """Why no run is taken any more, made anew for each who raises it."""
        return None if self._refusal is None else EngineError(*self._refusal)

    def wait_until_all_left(self, timeout_s: float) -> bool:
        """Wait for the callers; False when one is still in."""
        with self._news:
            return self._news.wait_for(lambda: len(self._free) == self._slots, timeout_s)

    def _check(self) -> None:
        refusal = self.refusal
        if refusal is not None:
            raise refusal

    def _left_s(self, limit: Limit) -> float | None:
        now = time.monotonic_ns()
        ends = [end for end in (self._deadline_ns, limit.until_ns) if end is not None]
        if not ends:
            return None
        if now < min(ends):
            return (min(ends) - now) / 1e9
        if limit.until_ns is not None and now >= limit.until_ns:
            text = f"more than {limit.most_s:g} s; the run was cancelled"
            raise DeadlineError("network took too long", limit.network, text)
        text = "the run was cancelled; what it was asked about is not examined"
        raise DeadlineError("network gave no answer by the deadline", limit.network, text)

    def _finish(self, call: Call, reply: Answer | Trouble | Lost) -> None:
        if call.given_up_ns is None:
            call.reply = reply
            self._news.notify_all()
        else:
            self._release(call)

    def _release(self, call: Call) -> None:
        self._free.append(call.slot)
        self._news.notify_all()
