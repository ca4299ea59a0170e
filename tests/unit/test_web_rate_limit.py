"""What a flood of complete requests may take of the station, and what it may not take of others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra: page")

from edgeapl.web import rate_limit as paced
from edgeapl.web.disconnection import MOST_BYTES, Message
from edgeapl.web.rate_limit import FREE_BYTES, RateLimiter, RateLimitMiddleware, Rates

RATES = Rates(per_address=40, total=100, burst=10, longest_s=3, most=400)


class Clock:
    """Time that goes on when told to; timers of the loop are run then, as if it had passed."""

    def __init__(self) -> None:
        self.now = 0.0
        self.limiter = RateLimiter(RATES, lambda: self.now)
        self.answered: list[str] = []
        self.refused: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def ask(self, address: str, count: int = 1) -> None:
        """Let requests of an address come in."""

        async def one() -> None:
            (self.answered if await self.limiter.acquire(address) else self.refused).append(address)

        self._tasks += [asyncio.create_task(one()) for _ in range(count)]
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def pass_by(self, seconds: float, step: float = 0.01) -> None:
        """Let time go by; the timer is what would call, so that it is called here."""
        for _ in range(round(seconds / step)):
            self.now += step
            self.limiter._admit()
            await self.settle()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Client:
    """Sends its messages, and then stays until it leaves."""

    def __init__(self, *messages: Message) -> None:
        self._messages = [*messages]
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        if self._messages:
            return self._messages.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}


def play(scene: Callable[[Clock], Awaitable[None]]) -> None:
    async def played() -> None:
        clock = Clock()
        try:
            await scene(clock)
        finally:
            await clock.end()

    asyncio.run(played())


def test_one_address_gets_its_rate_after_the_burst() -> None:
    async def scene(clock: Clock) -> None:
        await clock.ask("a", 100)
        assert len(clock.answered) == 10  # at once
        await clock.pass_by(1)
        assert len(clock.answered) == pytest.approx(50, abs=2)
        await clock.pass_by(2)
        assert len(clock.answered) == 100
        assert clock.limiter.waiting == 0

    play(scene)


def test_an_address_that_asks_a_lot_does_not_delay_another() -> None:
    async def scene(clock: Clock) -> None:
        await clock.ask("flood", 120)
        await clock.ask("b")
        await clock.pass_by(0.05)
        assert clock.answered.count("b") == 1

    play(scene)


def test_all_addresses_together_get_no_more_than_the_total() -> None:
    async def scene(clock: Clock) -> None:
        for number in range(10):
            await clock.ask(f"{number}", 25)
        await clock.pass_by(1)
        assert len(clock.answered) == pytest.approx(110, abs=3)
        shares = [clock.answered.count(f"{number}") for number in range(10)]
        assert max(shares) - min(shares) <= 12  # who came first had the burst

    play(scene)


def test_nobody_waits_longer_than_allowed_however_many_wait() -> None:
    async def scene(clock: Clock) -> None:
        await clock.ask("a", 300)
        await clock.pass_by(RATES.longest_s - 0.1)
        assert 150 < len(clock.answered) < 300
        await clock.pass_by(0.2)
        assert len(clock.answered) == 300

    play(scene)


def test_when_too_many_wait_the_oldest_of_who_has_most_is_refused() -> None:
    async def scene(clock: Clock) -> None:
        await clock.ask("flood", RATES.most + 10)
        await clock.ask("b")
        assert clock.limiter.waiting == RATES.most
        assert set(clock.refused) == {"flood"}
        await clock.pass_by(0.1)
        assert "b" in clock.answered

    play(scene)


@pytest.mark.parametrize(("more_body", "cost"), [(False, 9), (True, 1)])
def test_a_large_answer_counts_as_several_and_a_stream_does_not(more_body: bool, cost: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        body = bytes(8 * FREE_BYTES)
        await send({"type": "http.response.body", "body": body, "more_body": more_body})

    async def scene(clock: Clock) -> None:
        async def nothing(*_: Any) -> None:
            return None

        served = RateLimitMiddleware(app, clock.limiter)
        scope = {"type": "http", "client": ("10.0.0.1", 1)}
        await served(scope, Client().receive, nothing)
        await clock.ask("10.0.0.1", 20)
        assert len(clock.answered) == RATES.burst - cost

    play(scene)


def test_who_is_refused_is_told_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(clock: Clock) -> None:
        async def no_turn(address: str) -> bool:
            return False

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def never(*_: Any) -> None:
            raise AssertionError

        monkeypatch.setattr(clock.limiter, "acquire", no_turn)
        scope = {"type": "http", "client": ("10.0.0.1", 1)}
        await RateLimitMiddleware(never, clock.limiter)(scope, Client().receive, send)
        assert sent[0]["status"] == 503
        assert (b"retry-after", b"2") in sent[0]["headers"]
        assert sent[1]["body"] == paced.CROWDED

    play(scene)


def test_a_request_whose_client_has_left_waits_no_longer_and_is_never_answered() -> None:
    async def scene(clock: Clock) -> None:
        served: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            served.append(scope)

        async def send(message: Any) -> None:
            raise AssertionError(message)

        await clock.ask("10.0.0.1", int(RATES.burst))
        scope = {"type": "http", "client": ("10.0.0.1", 1)}
        page = RateLimitMiddleware(app, clock.limiter)
        clients = [Client({"type": "http.request", "more_body": half}) for half in (False, True)]
        asked = [asyncio.create_task(page(scope, one.receive, send)) for one in clients]
        await clock.settle()
        assert clock.limiter.waiting == 2
        for client in clients:
            client.gone.set()
        await clock.settle()
        assert clock.limiter.waiting == 0
        await asyncio.gather(*asked)
        assert not served

    play(scene)


@pytest.mark.parametrize("pieces", [(b"",), (b"a" * 10, b"b"), (b"a" * (MOST_BYTES + 1), b"b")])
def test_a_body_that_came_while_its_request_waited_is_read_whole(pieces: tuple[bytes, ...]) -> None:
    async def scene(clock: Clock) -> None:
        got: list[bytes] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            more = True
            while more:
                message = await receive()
                got.append(message["body"])
                more = message["more_body"]

        async def nothing(message: Any) -> None:
            return None

        await clock.ask("10.0.0.1", int(RATES.burst))
        last = len(pieces) - 1
        messages: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": number < last}
            for number, piece in enumerate(pieces)
        ]
        scope = {"type": "http", "client": ("10.0.0.1", 1)}
        page = RateLimitMiddleware(app, clock.limiter)
        asked = asyncio.create_task(page(scope, Client(*messages).receive, nothing))
        await clock.pass_by(0.1)
        await asked
        assert tuple(got) == pieces

    play(scene)
