"""Calls into the station that may hang without taking the page along."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from edgeapl.errors import DeadlineError

T = TypeVar("T")

MOST_AT_ONCE = 12
PATIENCE_S = 5.0


class StationCalls:
    """Runs the station's methods in threads of their own, a few at a time.

    The threads are daemons: a method that never comes back keeps neither the page from answering
    nor the program from ending. It keeps its place, though, so their number stays bounded.
    """

    def __init__(self, most: int = MOST_AT_ONCE, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._free = asyncio.Semaphore(most)

    async def __call__(self, method: Callable[..., T], *arguments: object) -> T:
        """Give what the method gives, or raise what it raises.

        Raises DeadlineError when it takes longer than the patience.
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
            except BaseException as raised:  # noqa: BLE001 - carried to who asked
                error = raised
            if not loop.is_closed():
                loop.call_soon_threadsafe(finish, value, error)

        try:
            await asyncio.wait_for(self._free.acquire(), self._patience_s)
            threading.Thread(target=work, name="page-call", daemon=True).start()
            return await asyncio.wait_for(done, self._patience_s)
        except asyncio.TimeoutError:
            name = getattr(method, "__name__", "call")
            raise DeadlineError(
                "station does not answer", name, "look at the station, then try again"
            ) from None
