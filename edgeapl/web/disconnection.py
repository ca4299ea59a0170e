"""Notices a client that leaves while its request waits for its turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

MOST_BYTES = 64 << 10
"""Of a body, read ahead: forms of the page are smaller; uvicorn itself keeps as much."""


class ReadAhead:
    """Reads a request's body before the page asks for it; for use in the event loop alone.

    ASGI tells that a client has left only to who reads on.

    receive : of the ASGI server.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: deque[Message] = deque()

    async def until_gone(self) -> None:
        """Return once the client has left; never, when its body is larger than MOST_BYTES."""
        nbytes = 0
        while nbytes <= MOST_BYTES:
            message = await self._receive()
            self._kept.append(message)
            if message["type"] == "http.disconnect":
                return
            nbytes += len(message.get("body", b""))
        await asyncio.Event().wait()

    async def receive(self) -> Message:
        """Return what was read ahead, and then what comes."""
        return self._kept.popleft() if self._kept else await self._receive()
