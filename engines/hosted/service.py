"""One child process for groups of networks, and what the hosts of these groups share."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeapl.engines.hosted.client import Client
from edgeapl.engines.hosted.messages import Open, Opened
from edgeapl.engines.hosted.networks import GroupFiles
from edgeapl.engines.hosted.requests import PendingRequests
from edgeapl.engines.hosted.supervisor import EngineSupervisor
from edgeapl.process.memory import SharedMemory
from edgeapl.process.restart import RestartBudget

OPENING_S = 300.0
"""Engines of TensorRT-RTX are compiled for the GPU when they are opened the first time, for all
sizes that batches are padded to."""


@dataclass(frozen=True, slots=True)
class HostHealth:
    """How the child is.

    ready : runs are taken now. pid : of the child; None while there is none.
    running : requests that the child has not answered.
    deaths : how often it died by itself. ended_late : how often it was ended, as a cancelled run
        did not end. text : why it is down for good, or how it died last; empty when it never did.
    """

    ready: bool
    pid: int | None
    running: int
    deaths: int
    ended_late: int
    text: str


class NetworkService:
    """Keeps the child, its memory and its supervisor for as long as a group needs them.

    Parameters
    ----------
    groups : what the child opens, each under a unique name.
    opening_s : how long opening all networks may take.
    budget : how often it may die; None for the usual.

    Raises EngineError when a network is refused at the first start.
    """

    def __init__(
        self, groups: Sequence[GroupFiles], opening_s: float, budget: RestartBudget | None
    ) -> None:
        slots = {group.name: group.slots for group in groups}
        self.requests = PendingRequests(slots)
        self._memory = [
            SharedMemory.create("edgeapl-networks") for _ in range(2 * sum(slots.values()))
        ]
        self._supervisor = EngineSupervisor(
            Open(tuple(groups)),
            self.requests,
            self._memory,
            opening_s,
            RestartBudget() if budget is None else budget,
        )
        self._supervisor.start()
        self._closing = threading.Lock()
        self._in_use = set(slots)
        try:
            self.requests.wait_for_child()
        except BaseException:
            self._close()
            raise
        pairs = list(zip(self._memory[::2], self._memory[1::2], strict=True))
        wake = self._supervisor.wake
        self.clients: Mapping[str, Client] = {
            name: Client(self.requests, name, pairs, wake) for name in slots
        }

    @property
    def opened(self) -> Opened:
        """What the child said when it had opened its networks."""
        return self._supervisor.opened

    @property
    def opened_in_s(self) -> float:
        """How long the child took to be ready when it was started last, s."""
        return self._supervisor.opened_in_s

    @property
    def health(self) -> HostHealth:
        """How the child is."""
        child, refusal = self.requests.child, self.requests.refusal
        supervisor = self._supervisor
        return HostHealth(
            ready=child is not None and refusal is None,
            pid=None if child is None else child.pid,
            running=self.requests.running,
            deaths=supervisor.deaths,
            ended_late=supervisor.ended_late,
            text=supervisor.last_death if refusal is None else str(refusal),
        )

    def wake(self) -> None:
        """Let the supervisor look at deadlines that were set for the last time."""
        self._supervisor.wake()

    def done_with(self, group: str) -> None:
        """Note that nobody uses a group any more; the child ends with the last one."""
        with self._closing:
            was_last = self._in_use == {group}
            self._in_use.discard(group)
        if was_last:
            self._close()

    def _close(self) -> None:
        self._supervisor.close()
        # A caller that is still copying would write where something else was opened by then.
        if self.requests.wait_until_all_left(timeout_s=1.0):
            for memory in self._memory:
                memory.close()
