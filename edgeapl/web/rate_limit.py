"""How many requests are answered a second, so that the station has the processor.

The page is served in the station's process: each answer takes a millisecond or two from the frames.
A client that asks without a pause waits for its turn, for some seconds at most. Addresses take
turns, so that one which asks a lot does not delay the others.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from edgeapl.web.connection_limit import network_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

FREE_BYTES = 256 << 10
"""Of an answer; each further piece of this size counts as one more answer."""

CROWDED = b"too many ask this page at once: try again"


@dataclass(frozen=True, slots=True)
class Rates:
    """Answers a second.

    per_address, total : a page asks for 13 pictures a second at most.
    burst : how many at once after a pause; a page asks for about 80 things when it is opened.
    longest_s : nobody waits for longer: when many wait, more are answered for it.
    most : may wait. They are about as many as the door lets in; those whose client is gone wait on.
    """

    per_address: float = 25.0
    total: float = 60.0
    burst: float = 160.0
    longest_s: float = 3.0
    most: int = 640


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """A request that waits. since_s : for so long. answered : told whether it may go on."""

    since_s: float
    answered: asyncio.Future[bool]

    def tell(self, *, answered: bool) -> None:
        if not self.answered.done():  # the page is being stopped
            self.answered.set_result(answered)


@dataclass(slots=True, eq=False)
class _Line:
    """What may still be answered to one address, or to all; and who waits for it."""

    left: float
    since_s: float
    waiting: deque[_Turn] = field(default_factory=deque)

    def refill(self, now_s: float, rate: float, burst: float) -> None:
        self.left = min(burst, self.left + rate * (now_s - self.since_s))
        self.since_s = now_s

    def next_s(self, rate: float) -> float:
        """Give the seconds until one more may be answered."""
        return max(0.0, 1.0 - self.left) / rate


class Pace:
    """Gives requests their turns; used in the event loop alone.

    now : monotonic seconds; tests give their own.
    """

    def __init__(
        self, rates: Rates | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._rates = rates or Rates()
        self._now = now
        self._all = _Line(self._rates.burst, now())
        self._lines: dict[str, _Line] = {}
        """By address; whose turn is next comes first."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return sum(len(line.waiting) for line in self._lines.values())

    async def turn(self, address: str) -> bool:
        """Wait until a request of an address may be answered; False when too many wait."""
        if self.waiting >= self._rates.most:
            fullest = max(self._lines.values(), key=lambda one: len(one.waiting))
            fullest.waiting.popleft().tell(answered=False)
        now = self._now()
        line = self._lines.setdefault(address, _Line(self._rates.burst, now))
        turn = _Turn(now, asyncio.get_running_loop().create_future())
        line.waiting.append(turn)
        self._hand_out()
        try:
            return await turn.answered
        finally:
            if turn in line.waiting:  # the page is being stopped
                line.waiting.remove(turn)

    def charge(self, address: str, nbytes: int) -> None:
        """Count a large answer as several."""
        more = nbytes // FREE_BYTES
        self._all.left -= more
        if address in self._lines:
            self._lines[address].left -= more

    def _hand_out(self) -> None:
        """Answer whose turn it is, and come back when there is a next one."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        now, rates = self._now(), self._rates
        rate = max(rates.total, self.waiting / rates.longest_s)
        self._all.refill(now, rate, rates.burst)
        for address, line in list(self._lines.items()):
            line.refill(now, self._rate(line), rates.burst)
            if not line.waiting and line.left >= rates.burst:
                del self._lines[address]
            while line.waiting and now - line.waiting[0].since_s >= rates.longest_s:
                line.waiting.popleft().tell(answered=True)
        while self._all.left >= 1 and self._answer_one():
            pass
        at_work = [line for line in self._lines.values() if line.waiting]
        if at_work:
            next_s = min(line.next_s(self._rate(line)) for line in at_work)
            overdue_s = min(line.waiting[0].since_s for line in at_work) + rates.longest_s - now
            wait_s = max(0.0, min(overdue_s, max(next_s, self._all.next_s(rate))))
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._hand_out)

    def _rate(self, line: _Line) -> float:
        return max(self._rates.per_address, len(line.waiting) / self._rates.longest_s)

    def _answer_one(self) -> bool:
        """Answer the oldest request of the address whose turn is next; False when there is none."""
        ready = (name for name, one in self._lines.items() if one.waiting and one.left >= 1)
        address = next(ready, None)
        if address is None:
            return False
        line = self._lines.pop(address)
        self._lines[address] = line  # the others first, next time
        line.left -= 1
        self._all.left -= 1
        line.waiting.popleft().tell(answered=True)
        return True


class Paced:
    """ASGI middleware that answers each request when its turn has come."""

    def __init__(self, app: App, pace: Pace) -> None:
        self._app = app
        self._pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, then hand the request on; what it is answered with is counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = network_of(str((scope.get("client") or ("", 0))[0]))
        if not await self._pace.turn(address):
            headers = [(b"content-type", b"text/plain"), (b"retry-after", b"2")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": CROWDED})
            return

        async def counted(message: Message) -> None:
            # A stream grows by what happens at the station, not by what its client asks.
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._pace.charge(address, len(message.get("body", b"")))
            await send(message)

        await self._app(scope, receive, counted)
