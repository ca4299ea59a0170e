"""Who may hold a connection to the page, and for how long: so that nobody can use them all up.

A connection costs a file descriptor before a single header was read. So what a client has not yet
asked for is held for seconds only, and when all places are taken, the oldest of those that wait for
their client makes room: first unfinished requests, then connections kept for a next one. The client
address that holds most of them gives one up. Requests in work and streams are never ended for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class State(Enum):
    """What a connection waits for."""

    OPENING = "a whole request"
    WORKING = "our answer"
    IDLE = "the next request"


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections, and how long they may wait.

    total, per_address : connections; the rest is left to other addresses. More than 900 would bring
        descriptors above 1023, which camera drivers that use select() cannot bear.
    opening : connections that have not sent a whole request yet.
    request_s : seconds for a request to arrive, headers and body.
    idle_s : for the next request to begin. unread_s : for an answer to be taken.
    """

    total: int = 640
    per_address: int = 576
    opening: int = 128
    request_s: float = 10.0
    idle_s: float = 15.0
    unread_s: float = 15.0

    def within(self, descriptors: int) -> Limits:
        """Give limits that take no more than so many file descriptors; at least 16."""
        total = min(self.total, max(16, descriptors))
        most = max(1, total * 9 // 10)
        return Limits(
            total,
            min(self.per_address, most),
            min(self.opening, max(1, total // 2)),
            self.request_s,
            self.idle_s,
            self.unread_s,
        )


class Line(Protocol):
    """The connection itself."""

    def unsent(self) -> int:
        """Give the bytes of answers that the client has not taken yet."""

    def drop(self) -> None:
        """End it at once, whatever is on its way."""


@dataclass(slots=True, eq=False)
class Guest:
    """One connection. since_s : when its state began; unread_since_s : when it stopped reading."""

    line: Line
    address: str
    since_s: float
    state: State = State.OPENING
    unread_since_s: float | None = field(default=None)


Waiting = dict[str, dict[Guest, None]]


class Door:
    """Counts connections; used in the event loop alone.

    now : monotonic seconds; tests give their own.
    """

    def __init__(
        self, limits: Limits | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits or Limits()
        self.dropped = 0
        self._now = now
        self._guests: dict[Guest, None] = {}
        self._by_address: dict[str, int] = {}
        # Oldest first, by address.
        self._waiting: dict[State, Waiting] = {State.OPENING: {}, State.IDLE: {}}
        self._opening = 0

    def __len__(self) -> int:
        return len(self._guests)

    def enter(self, line: Line, address: str) -> Guest | None:
        """Let a connection in, at another's cost if need be; None when it may not stay."""
        address = network_of(address)
        if self._by_address.get(address, 0) >= self.limits.per_address:
            makes_room = self._make_room(address)
        elif len(self._guests) >= self.limits.total:
            makes_room = self._make_room(None)
        elif self._opening >= self.limits.opening:
            makes_room = self._drop_oldest(State.OPENING, None)
        else:
            makes_room = True
        if not makes_room:
            self.dropped += 1
            line.drop()
            return None
        guest = Guest(line, address, self._now())
        self._guests[guest] = None
        self._by_address[address] = self._by_address.get(address, 0) + 1
        self._line_up(guest)
        return guest

    def turn(self, guest: Guest, state: State) -> None:
        """Note what a connection waits for now; its time begins anew when that has changed."""
        if guest.state is state or guest not in self._guests:
            return
        self._step_out(guest)
        guest.state, guest.since_s = state, self._now()
        self._line_up(guest)

    def leave(self, guest: Guest) -> None:
        """Forget a connection; a second call does nothing."""
        if guest not in self._guests:
            return
        del self._guests[guest]
        self._step_out(guest)
        self._by_address[guest.address] -= 1
        if not self._by_address[guest.address]:
            del self._by_address[guest.address]

    def sweep(self) -> None:
        """Drop whoever has waited too long; call it about once a second."""
        now = self._now()
        allowed = {State.OPENING: self.limits.request_s, State.IDLE: self.limits.idle_s}
        for guest in list(self._guests):
            if not guest.line.unsent():
                guest.unread_since_s = None
            elif guest.unread_since_s is None:
                guest.unread_since_s = now
            unread = guest.unread_since_s
            overdue = now - guest.since_s > allowed.get(guest.state, float("inf"))
            if overdue or (unread is not None and now - unread > self.limits.unread_s):
                self._drop(guest)

    def _make_room(self, address: str | None) -> bool:
        return self._drop_oldest(State.OPENING, address) or self._drop_oldest(State.IDLE, address)

    def _drop_oldest(self, state: State, address: str | None) -> bool:
        """Drop the oldest of an address, or of that which has most; False when there is none."""
        waiting = self._waiting[state]
        if not waiting:
            return False
        guests = waiting.get(address or max(waiting, key=lambda name: len(waiting[name])))
        if not guests:
            return False
        self._drop(next(iter(guests)))
        return True

    def _drop(self, guest: Guest) -> None:
        self.leave(guest)
        self.dropped += 1
        guest.line.drop()

    def _line_up(self, guest: Guest) -> None:
        if guest.state in self._waiting:
            self._waiting[guest.state].setdefault(guest.address, {})[guest] = None
        self._opening += guest.state is State.OPENING

    def _step_out(self, guest: Guest) -> None:
        self._opening -= guest.state is State.OPENING
        waiting = self._waiting.get(guest.state)
        if waiting is None:
            return
        guests = waiting[guest.address]
        del guests[guest]
        if not guests:
            del waiting[guest.address]


def network_of(address: str) -> str:
    """Give what one client holds alone: an IPv4 address, or the first half of one of IPv6."""
    return ":".join(address.split(":")[:4]) if ":" in address else address
