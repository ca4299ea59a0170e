"""Limits the connections to the page, so that no client can use them all up.

A connection costs a file descriptor before a single header is read. So a connection without a
request is held for seconds only, and when the limit is reached, the oldest connection that waits
for its client is dropped: first unfinished requests, then idle connections, of the address that
holds most of them. Requests in progress and streams are never dropped for this.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class ConnectionState(Enum):
    """What a connection waits for."""

    OPENING = "a whole request"
    WORKING = "our answer"
    IDLE = "the next request"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections there may be, and how long they may wait.

    total, per_address : connections; per address fewer, so that others get some. More than 900
        would bring descriptors above 1023, which break camera drivers that use select().
    opening : connections that have not sent a whole request yet.
    request_s : seconds for a request to arrive, headers and body.
    idle_s : seconds until the next request. unread_s : seconds until an answer is read.
    """

    total: int = 640
    per_address: int = 576
    opening: int = 128
    request_s: float = 10.0
    idle_s: float = 15.0
    unread_s: float = 15.0

    def within(self, descriptors: int) -> ConnectionLimits:
        """Return limits that need at most this many file descriptors; at least 16."""
        total = min(self.total, max(16, descriptors))
        most = max(1, total * 9 // 10)
        return ConnectionLimits(
            total,
            min(self.per_address, most),
            min(self.opening, max(1, total // 2)),
            self.request_s,
            self.idle_s,
            self.unread_s,
        )


class Transport(Protocol):
    """The connection itself."""

    def unsent(self) -> int:
        """Return the number of bytes of answers that the client has not read yet."""

    def drop(self) -> None:
        """Close it at once, even during an answer."""


@dataclass(slots=True, eq=False)
class TrackedConnection:
    """One connection. since_s : when its state began; unread_since_s : when it stopped reading."""

    transport: Transport
    address: str
    since_s: float
    state: ConnectionState = ConnectionState.OPENING
    unread_since_s: float | None = field(default=None)


Waiting = dict[str, dict[TrackedConnection, None]]


class ConnectionLimiter:
    """Tracks connections and drops some when there are too many; for use in the event loop alone.

    now : monotonic seconds; tests pass their own.
    """

    def __init__(
        self, limits: ConnectionLimits | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits or ConnectionLimits()
        self.dropped = 0
        self._now = now
        self._connections: dict[TrackedConnection, None] = {}
        self._by_address: dict[str, int] = {}
        # Oldest first, by address.
        self._waiting: dict[ConnectionState, Waiting] = {
            ConnectionState.OPENING: {},
            ConnectionState.IDLE: {},
        }
        self._opening = 0

    def __len__(self) -> int:
        return len(self._connections)

    def accept(self, transport: Transport, address: str) -> TrackedConnection | None:
        """Track a connection, dropping another if needed; None when this one was dropped."""
        address = network_of(address)
        if self._by_address.get(address, 0) >= self.limits.per_address:
            makes_room = self._make_room(address)
        elif len(self._connections) >= self.limits.total:
            makes_room = self._make_room(None)
        elif self._opening >= self.limits.opening:
            makes_room = self._drop_oldest(ConnectionState.OPENING, None)
        else:
            makes_room = True
        if not makes_room:
            self.dropped += 1
            transport.drop()
            return None
        connection = TrackedConnection(transport, address, self._now())
        self._connections[connection] = None
        self._by_address[address] = self._by_address.get(address, 0) + 1
        self._enqueue(connection)
        return connection

    def set_state(self, connection: TrackedConnection, state: ConnectionState) -> None:
        """Set what a connection waits for; a new state restarts its time."""
        if connection.state is state or connection not in self._connections:
            return
        self._dequeue(connection)
        connection.state, connection.since_s = state, self._now()
        self._enqueue(connection)

    def release(self, connection: TrackedConnection) -> None:
        """Stop tracking a connection; a second call does nothing."""
        if connection not in self._connections:
            return
        del self._connections[connection]
        self._dequeue(connection)
        self._by_address[connection.address] -= 1
        if not self._by_address[connection.address]:
            del self._by_address[connection.address]

    def sweep(self) -> None:
        """Drop connections that have waited too long; call this about once a second."""
        now = self._now()
        allowed = {
            ConnectionState.OPENING: self.limits.request_s,
            ConnectionState.IDLE: self.limits.idle_s,
        }
        for connection in list(self._connections):
            if not connection.transport.unsent():
                connection.unread_since_s = None
            elif connection.unread_since_s is None:
                connection.unread_since_s = now
            unread = connection.unread_since_s
            overdue = now - connection.since_s > allowed.get(connection.state, float("inf"))
            if overdue or (unread is not None and now - unread > self.limits.unread_s):
                self._drop(connection)

    def _make_room(self, address: str | None) -> bool:
        return self._drop_oldest(ConnectionState.OPENING, address) or self._drop_oldest(
            ConnectionState.IDLE, address
        )

    def _drop_oldest(self, state: ConnectionState, address: str | None) -> bool:
        """Drop the oldest of an address, or of the one with most; False when there is none."""
        waiting = self._waiting[state]
        if not waiting:
            return False
        queue = waiting.get(address or max(waiting, key=lambda name: len(waiting[name])))
        if not queue:
            return False
        self._drop(next(iter(queue)))
        return True

    def _drop(self, connection: TrackedConnection) -> None:
        self.release(connection)
        self.dropped += 1
        connection.transport.drop()

    def _enqueue(self, connection: TrackedConnection) -> None:
        if connection.state in self._waiting:
            self._waiting[connection.state].setdefault(connection.address, {})[connection] = None
        self._opening += connection.state is ConnectionState.OPENING

    def _dequeue(self, connection: TrackedConnection) -> None:
        self._opening -= connection.state is ConnectionState.OPENING
        waiting = self._waiting.get(connection.state)
        if waiting is None:
            return
        queue = waiting[connection.address]
        del queue[connection]
        if not queue:
            del waiting[connection.address]


def network_of(address: str) -> str:
    """Return the network of one client: an IPv4 address, or the first half of an IPv6 address."""
    return ":".join(address.split(":")[:4]) if ":" in address else address
