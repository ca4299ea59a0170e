"""A connection of the page: uvicorn's, reporting its state to the connection limiter."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgeapl.web.connection_limit import ConnectionLimiter, ConnectionState, TrackedConnection

GONE_MS = 20_000
"""A client that was switched off is noticed after this time; TCP alone takes 15 minutes."""


class Connection(H11Protocol):
    """Implements `edgeapl.web.connection_limit.Transport`. limiter : may drop it."""

    def __init__(self, limiter: ConnectionLimiter, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._limiter = limiter
        self._tracked: TrackedConnection | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask the limiter before anything is read."""
        super().connection_made(transport)
        made = transport.get_extra_info("socket")
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
        self._tracked = self._limiter.accept(self, self.client[0] if self.client else "")

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place in the limiter."""
        super().connection_lost(exc)
        if self._tracked is not None:
            self._limiter.release(self._tracked)

    def data_received(self, data: bytes) -> None:
        """Handle data from the client."""
        if self._tracked is None or self.transport.is_closing():
            return  # dropped, or closing after its answer
        super().data_received(data)
        self._report_state()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._report_state()

    def unsent(self) -> int:
        """Return the number of bytes of answers that the client has not read yet."""
        return self.transport.get_write_buffer_size()

    def drop(self) -> None:
        """Close it at once."""
        self.transport.abort()

    def _report_state(self) -> None:
        if self._tracked is None:
            return
        asked = self.cycle is not None
        answering = asked and not self.cycle.response_complete
        if answering and not self.cycle.more_body:
            state = ConnectionState.WORKING
        elif answering or not asked or self.conn.trailing_data[0]:
            state = ConnectionState.OPENING
        elif self.conn.their_state is h11.SEND_BODY:
            state = (
                ConnectionState.OPENING
            )  # answered before its body came: it may end, or be dropped
        else:
            state = ConnectionState.IDLE
        self._limiter.set_state(self._tracked, state)


def limited_connections(limiter: ConnectionLimiter) -> type[Connection]:
    """Return the class of which uvicorn makes its connections."""

    class LimitedConnection(Connection):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(limiter, *arguments, **named)

    return LimitedConnection


async def sweep_connections(limiter: ConnectionLimiter, every_s: float = 1.0) -> None:
    """Drop overdue connections until cancelled."""
    while True:
        await asyncio.sleep(every_s)
        limiter.sweep()
