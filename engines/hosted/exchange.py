"""Hands arrays to the child and takes its answers, each call in memory of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.hosted.calls import Call, Calls, Limit, Lost
from edgeapl.engines.hosted.process import ChildProcess
from edgeapl.engines.hosted.shared import Region
from edgeapl.engines.hosted.wire import Answer, ArrayPlace, Request, Trouble
from edgeapl.errors import EngineError
from edgeapl.protocols import Arrays

Write = Callable[[int, int, tuple[ArrayPlace, ...]], Request]
"""Writes a request: number of the call, slot, and where its arrays lie."""


class Exchange:
    """What every kind of call does between a caller and the child.

    Parameters
    ----------
    calls : the book. slots : (memory of inputs, memory of outputs) of each.
    wake : called when a run was given up, so that it is looked after.
    """

    def __init__(
        self, calls: Calls, slots: Sequence[tuple[Region, Region]], wake: Callable[[], None]
    ) -> None:
        self._calls = calls
        self._slots = slots
        self._wake = wake

    @property
    def child(self) -> ChildProcess | None:
        """The child that is ready; None while there is none."""
        return self._calls.child

    def ask(
        self, limit: Limit, inputs: Arrays, write: Write, only: ChildProcess | None = None
    ) -> Call | None:
        """Send a request; it is under way until `answer` or `leave`.

        only : the child that may be asked; None is given when there is another one by now.

        Raises DeadlineError, or EngineError when the child is down for good.
        """
        call = self._calls.enter(limit)
        try:
            if only is not None and call.child is not only:
                self.leave(call)
                return None
            given, _ = self._slots[call.slot]
            self._calls.send(call, write(call.number, call.slot, given.put(inputs)))
        except BaseException:
            self.leave(call)
            raise
        return call

    def answer(
        self, call: Call, limit: Limit
    ) -> tuple[Answer, dict[str, NDArray[np.generic]]] | None:
        """Wait for the answer, and give it with copies of its arrays.

        None when the child was ended for another run's sake before this one was over: ask again.
        Raises DeadlineError, or EngineError when the run failed or its child died.
        """
        try:
            reply = self._calls.wait(call, limit)
            if isinstance(reply, Lost):
                if reply.again:
                    return None
                text = f"{reply.text}; it is started again"
                raise EngineError("network process died", limit.network, text)
            if isinstance(reply, Trouble):
                raise reply.error()
            _, made = self._slots[call.slot]
            return reply, _copies(made, limit.network, reply)
        finally:
            self.leave(call)

    def leave(self, call: Call) -> None:
        """Be done with a call, or give it up."""
        if self._calls.leave(call):
            self._wake()


def _copies(made: Region, network: str, answer: Answer) -> dict[str, NDArray[np.generic]]:
    """Copy arrays out of the memory, which the next run writes again."""
    try:
        return {key: np.array(view) for key, view in made.take(answer.arrays).items()}
    except ValueError as error:
        what = "network process does not keep to the rules"
        raise EngineError(what, network, str(error)) from error
