"""Sends requests to the child and waits for the answers, each in memory of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.hosted.arrays import copy_arrays, put_arrays
from edgeapl.engines.hosted.messages import Answer, Failed, Request
from edgeapl.engines.hosted.process import EngineProcess
from edgeapl.engines.hosted.requests import Limit, Lost, PendingRequest, PendingRequests
from edgeapl.errors import EngineError
from edgeapl.process.memory import ArrayPlace, SharedMemory
from edgeapl.protocols import Arrays

Write = Callable[[int, int, tuple[ArrayPlace, ...]], Request]
"""Makes a request of its number, its slot, and where its arrays lie."""


class Client:
    """What every kind of request does between a caller and the child.

    Parameters
    ----------
    requests : those that are not answered. group : of networks, whose slots are used.
    slots : (memory of inputs, memory of outputs) of each, other groups' too.
    wake : called when a request was given up, so that it is looked after.
    """

    def __init__(
        self,
        requests: PendingRequests,
        group: str,
        slots: Sequence[tuple[SharedMemory, SharedMemory]],
        wake: Callable[[], None],
    ) -> None:
        self._requests = requests
        self._group = group
        self._slots = slots
        self._wake = wake

    @property
    def child(self) -> EngineProcess | None:
        """The child that is ready; None while there is none."""
        return self._requests.child

    def send(
        self, limit: Limit, inputs: Arrays, write: Write, only: EngineProcess | None = None
    ) -> PendingRequest | None:
        """Send a request; it is under way until `answer` or `leave`.

        only : the child that may be asked; None comes back when there is another one by now.

        Raises DeadlineError, or EngineError when the child is down for good.
        """
        pending = self._requests.enter(self._group, limit)
        try:
            if only is not None and pending.child is not only:
                self.leave(pending)
                return None
            places = put_arrays(self._slots[pending.slot][0], inputs)
            self._requests.send(pending, write(pending.number, pending.slot, places))
        except BaseException:
            self.leave(pending)
            raise
        return pending

    def answer(
        self, pending: PendingRequest, limit: Limit
    ) -> tuple[Answer, dict[str, NDArray[np.generic]]] | None:
        """Wait for the answer and return it with copies of its arrays.

        None when the child was ended for another request's sake before this one was over: send it
        again. Raises DeadlineError, or EngineError when it failed or its child died.
        """
        try:
            reply = self._requests.wait(pending, limit)
            if isinstance(reply, Lost):
                if reply.may_repeat:
                    return None
                text = f"{reply.text}; it is started again"
                raise EngineError("network process died", limit.network, text)
            if isinstance(reply, Failed):
                raise reply.error()
            return reply, copy_arrays(self._slots[pending.slot][1], reply.arrays, limit.network)
        finally:
            self.leave(pending)

    def leave(self, pending: PendingRequest) -> None:
        """Be done with a request, or give it up."""
        if self._requests.leave(pending):
            self._wake()
