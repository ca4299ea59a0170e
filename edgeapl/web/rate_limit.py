"""Limits how many requests are answered per second, so that the station keeps the processor.

The page is served in the station's process: each answer takes a millisecond or two from the frames.
A client that sends requests without a pause waits a few seconds at most. Addresses are served round
robin, so that a busy one does not delay the others.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from edgeapl.web.connection_limit import network_of
from edgeapl.web.disconnection import Message, ReadAhead, Receive

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

FREE_BYTES = 256 << 10
"""Size of an answer that counts once; every further piece of this size counts again."""

CROWDED = b"too many ask this page at once: try again"


@dataclass(frozen=True, slots=True)
class Rates:
    """Answers per second.

    per_address, total : a page requests 13 pictures a second at most.
    burst : answers at once after a pause; opening a page takes about 80 requests.
    longest_s : longest wait, seconds: when many wait, the rates rise.
    most : requests that may wait, as many as there may be connections: a request whose client has
        left waits no longer.
    """

    per_address: float = 25.0
    total: float = 60.0
    burst: float = 160.0
    longest_s: float = 3.0
    most: int = 640


@dataclass(frozen=True, slots=True, eq=False)
class _WaitingRequest:
    """A request that waits since `since_s`. admitted : resolved with whether it is answered."""

    since_s: float
    admitted: asyncio.Future[bool]

    def resolve(self, *, admitted: bool) -> None:
        if not self.admitted.done():  # the page is being stopped
            self.admitted.set_result(admitted)


@dataclass(slots=True, eq=False)
class _TokenBucket:
    """Answers left to one address, or to all, and the requests that wait for them."""

    tokens: float
    since_s: float
    waiting: deque[_WaitingRequest] = field(default_factory=deque)

    def refill(self, now_s: float, rate: float, burst: float) -> None:
        self.tokens = min(burst, self.tokens + rate * (now_s - self.since_s))
        self.since_s = now_s

    def next_s(self, rate: float) -> float:
        """Return the seconds until one more request may be answered."""
        return max(0.0, 1.0 - self.tokens) / rate


class RateLimiter:
    """Admits waiting requests at limited rates; for use in the event loop alone.

    now : monotonic seconds; tests pass their own.
    """

    def __init__(
        self, rates: Rates | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._rates = rates or Rates()
        self._now = now
        self._total = _TokenBucket(self._rates.burst, now())
        self._buckets: dict[str, _TokenBucket] = {}
        """By address; the one to serve next comes first."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return sum(len(bucket.waiting) for bucket in self._buckets.values())

    async def acquire(self, address: str) -> bool:
        """Wait until a request of this address may be answered; False when too many wait."""
        if self.waiting >= self._rates.most:
            fullest = max(self._buckets.values(), key=lambda one: len(one.waiting))
            fullest.waiting.popleft().resolve(admitted=False)
        now = self._now()
        bucket = self._buckets.setdefault(address, _TokenBucket(self._rates.burst, now))
        request = _WaitingRequest(now, asyncio.get_running_loop().create_future())
        bucket.waiting.append(request)
        self._admit()
        try:
            return await request.admitted
        finally:
            if request in bucket.waiting:  # its client has left, or the page is being stopped
                bucket.waiting.remove(request)

    def charge(self, address: str, nbytes: int) -> None:
        """Count a large answer as several."""
        more = nbytes // FREE_BYTES
        self._total.tokens -= more
        if address in self._buckets:
            self._buckets[address].tokens -= more

    def _admit(self) -> None:
        """Admit all requests that are due, and schedule the next call."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        now, rates = self._now(), self._rates
        rate = max(rates.total, self.waiting / rates.longest_s)
        self._total.refill(now, rate, rates.burst)
        for address, bucket in list(self._buckets.items()):
            bucket.refill(now, self._rate(bucket), rates.burst)
            if not bucket.waiting and bucket.tokens >= rates.burst:
                del self._buckets[address]
            while bucket.waiting and now - bucket.waiting[0].since_s >= rates.longest_s:
                bucket.waiting.popleft().resolve(admitted=True)
        while self._total.tokens >= 1 and self._admit_one():
            pass
        busy = [bucket for bucket in self._buckets.values() if bucket.waiting]
        if busy:
            next_s = min(bucket.next_s(self._rate(bucket)) for bucket in busy)
            overdue_s = min(bucket.waiting[0].since_s for bucket in busy) + rates.longest_s - now
            wait_s = max(0.0, min(overdue_s, max(next_s, self._total.next_s(rate))))
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._admit)

    def _rate(self, bucket: _TokenBucket) -> float:
        return max(self._rates.per_address, len(bucket.waiting) / self._rates.longest_s)

    def _admit_one(self) -> bool:
        """Admit the oldest request of the next address; False when there is none."""
        ready = (name for name, one in self._buckets.items() if one.waiting and one.tokens >= 1)
        address = next(ready, None)
        if address is None:
            return False
        bucket = self._buckets.pop(address)
        self._buckets[address] = bucket  # the others first, next time
        bucket.tokens -= 1
        self._total.tokens -= 1
        bucket.waiting.popleft().resolve(admitted=True)
        return True


class RateLimitMiddleware:
    """ASGI middleware that passes requests on at limited rates."""

    def __init__(self, app: App, limiter: RateLimiter) -> None:
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, pass the request on, and count the size of its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = network_of(str((scope.get("client") or ("", 0))[0]))
        client = ReadAhead(receive)
        admitted = await self._admitted(address, client)
        if admitted is None:
            return
        if not admitted:
            headers = [(b"content-type", b"text/plain"), (b"retry-after", b"2")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": CROWDED})
            return

        async def counted(message: Message) -> None:
            # The length of a stream depends on the station, not on the client's requests.
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._limiter.charge(address, len(message.get("body", b"")))
            await send(message)

        await self._app(scope, client.receive, counted)

    async def _admitted(self, address: str, client: ReadAhead) -> bool | None:
        """Wait for the turn of a request; None when its client has left before."""
        turn = asyncio.ensure_future(self._limiter.acquire(address))
        gone = asyncio.ensure_future(client.until_gone())
        try:
            await asyncio.wait((turn, gone), return_when=asyncio.FIRST_COMPLETED)
            return turn.result() if turn.done() else None
        finally:
            turn.cancel()
            gone.cancel()
