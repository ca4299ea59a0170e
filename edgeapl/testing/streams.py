"""Streams and events of a GPU that is not there: what waits for what, done in any allowed order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

Step = Callable[[], None]


@dataclass(slots=True, eq=False)
class EventState:
    """asked : how often it was put on a stream. fired : how often it was reached there."""

    stream: int = 0
    asked: int = 0
    fired: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Fire:
    event: EventState
    time: int


@dataclass(frozen=True, slots=True, eq=False)
class _Until:
    """stream : where it was recorded at that time; by now it may be recorded elsewhere."""

    event: EventState
    time: int
    stream: int


class Streams:
    """Work in the order of each stream, and between them only in the order of events.

    Work is done as late as possible: when somebody waits for it. Streams `ahead` do theirs as
    early as possible. Code that relies on an order that no event promises gets wrong numbers in
    one of the two ways.
    """

    def __init__(self) -> None:
        self.ahead: Collection[int] = ()
        self._waiting: dict[int, deque[Step | _Fire | _Until]] = {}

    def add(self, stream: int) -> None:
        """Make a stream."""
        self._waiting[stream] = deque()

    def put(self, stream: int, step: Step) -> None:
        """Put work on a stream."""
        self._waiting[stream].append(step)
        self._run_ahead()

    def record(self, event: EventState, stream: int) -> None:
        """Put an event on a stream; it is reached when all before it is done."""
        event.stream = stream
        event.asked += 1
        self._waiting[stream].append(_Fire(event, event.asked))
        self._run_ahead()

    def hold(self, stream: int, event: EventState) -> None:
        """Let a stream wait for the event as it was last recorded; at once where it never was."""
        self._waiting[stream].append(_Until(event, event.asked, event.stream))
        self._run_ahead()

    def drain(self, stream: int) -> None:
        """Do all that waits on a stream, and on others what that waits for."""
        while self._waiting[stream]:
            self._next(stream)
        self._run_ahead()

    def reach(self, event: EventState, time: int | None = None) -> None:
        """Do what must be done before an event is reached."""
        wanted = event.asked if time is None else time
        while event.fired < wanted:
            self._next(event.stream)
        self._run_ahead()

    def _next(self, stream: int) -> None:
        task = self._waiting[stream].popleft()
        if isinstance(task, _Until):
            while task.event.fired < task.time:
                self._next(task.stream)
        elif isinstance(task, _Fire):
            task.event.fired = max(task.event.fired, task.time)
        else:
            task()

    def _run_ahead(self) -> None:
        moved = True
        while moved:
            moved = False
            for stream in self.ahead:
                while self._waiting[stream] and not self._held(stream):
                    self._next(stream)
                    moved = True

    def _held(self, stream: int) -> bool:
        task = self._waiting[stream][0]
        return isinstance(task, _Until) and task.event.fired < task.time
