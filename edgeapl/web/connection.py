"""One connection of the page: uvicorn's, which tells the door what it waits for."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgeapl.web.connection_limit import Door, Guest, State

GONE_MS = 20_000
"""A client that was switched off is noticed after so long; TCP alone takes a quarter of an hour."""


class Connection(H11Protocol):
    """Implements `edgeapl.web.connection_limit.Line`. door : lets it in, and may drop it later."""

    def __init__(self, door: Door, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._door = door
        self._guest: Guest | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask the door before anything is read."""
        super().connection_made(transport)
        made = transport.get_extra_info("socket")
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
        self._guest = self._door.enter(self, self.client[0] if self.client else "")

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        super().connection_lost(exc)
        if self._guest is not None:
            self._door.leave(self._guest)

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._guest is None or self.transport.is_closing():
            return  # dropped, or answered for good
        super().data_received(data)
        self._turn()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._turn()

    def unsent(self) -> int:
        """Give the bytes of answers that the client has not taken yet."""
        return self.transport.get_write_buffer_size()

    def drop(self) -> None:
        """End it at once."""
        self.transport.abort()

    def _turn(self) -> None:
        if self._guest is None:
            return
        asked = self.cycle is not None
        answering = asked and not self.cycle.response_complete
        if answering and not self.cycle.more_body:
            state = State.WORKING
        elif answering or not asked or self.conn.trailing_data[0]:
            state = State.OPENING
        elif self.conn.their_state is h11.SEND_BODY:
            state = State.OPENING  # answered before its body came: it may end, or be dropped
        else:
            state = State.IDLE
        self._door.turn(self._guest, state)


def connections_through(door: Door) -> type[Connection]:
    """Give what uvicorn makes its connections with."""

    class Through(Connection):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(door, *arguments, **named)

    return Through


async def keep_door(door: Door, every_s: float = 1.0) -> None:
    """Sweep until cancelled."""
    while True:
        await asyncio.sleep(every_s)
        door.sweep()
