"""Calls into the station that may hang without blocking the page."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from edgeapl.errors import DeadlineError

T = TypeVar("T")

MOST_AT_ONCE = 12
TIMEOUT_S = 5.0


class StationCalls:
    """Runs the station's methods in threads of their own, a few at a time.

    The threads are daemons: a method that never returns keeps neither the page from answering nor
    the program from ending. It still counts, so the number of threads is bounded.
    """

    def __init__(self, most: int = MOST_AT_ONCE, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._free = asyncio.Semaphore(most)

    async def __call__(self, method: Callable[..., T], *arguments: object) -> T:
        """Return what the method returns, or raise what it raises.

        Raises DeadlineError when it takes longer than the timeout.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def finish(value: T | None, error: BaseException | None) -> None:
            self._free.release()
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(value)  # type: ignore[arg-type]

        def work() -> None:
            value, error = None, None
            try:
                value = method(*arguments)
            except BaseException as raised:  # noqa: BLE001 - raised again in the caller
                error = raised
            if not loop.is_closed():
                loop.call_soon_threadsafe(finish, value, error)

        try:
            await asyncio.wait_for(self._free.acquire(), self._timeout_s)
            threading.Thread(target=work, name="page-call", daemon=True).start()
            return await asyncio.wait_for(done, self._timeout_s)
        except asyncio.TimeoutError:
            name = getattr(method, "__name__", "call")
            raise DeadlineError(
                "station does not answer", name, "look at the station, then try again"
            ) from None
