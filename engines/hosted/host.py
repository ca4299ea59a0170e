"""Networks that run in a child process, so that a deadline holds whatever they do."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edgeapl.closable import ClosesItself
from edgeapl.engines.hosted.chain import MOST_BATCHES, HostedChain
from edgeapl.engines.hosted.client import Client
from edgeapl.engines.hosted.messages import EngineInfo, Open, RunNetwork
from edgeapl.engines.hosted.networks import ChainFile, NetworkFile
from edgeapl.engines.hosted.requests import Limit, PendingRequests
from edgeapl.engines.hosted.supervisor import EngineSupervisor
from edgeapl.engines.input_checks import Declared, check_inputs
from edgeapl.errors import EngineError
from edgeapl.process.memory import SharedMemory
from edgeapl.process.restart import RestartBudget
from edgeapl.protocols import Arrays

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


class EngineHost(ClosesItself):
    """One child process with networks in it.

    Parameters
    ----------
    networks : what it opens, see `edgeapl.engines.hosted.networks.network_files`.
    chain : what it opens behind a plan that cuts cells; then `chain` is one, else None.
    workers : runs at the same time besides those of the chain; more callers wait.
    most_s : how long any run may take, waiting included; None for as long as it wants.
    opening_s : how long opening all networks may take.
    budget : how often it may die.

    All methods may be called from any thread. A child that died, or was ended, is started again at
    once; runs wait for it. Raises EngineError when a network is refused at the first start.
    """

    def __init__(
        self,
        networks: Sequence[NetworkFile],
        *,
        chain: ChainFile | None = None,
        workers: int = 1,
        most_s: float | None = None,
        opening_s: float = OPENING_S,
        budget: RestartBudget | None = None,
    ) -> None:
        self._most_s = most_s
        slots = workers + (0 if chain is None else MOST_BATCHES)
        self._requests = PendingRequests(slots)
        self._memory = [SharedMemory.create("edgeapl-networks") for _ in range(2 * slots)]
        pairs = list(zip(self._memory[::2], self._memory[1::2], strict=True))
        self._supervisor = EngineSupervisor(
            Open(tuple(networks), chain),
            self._requests,
            self._memory,
            opening_s,
            RestartBudget() if budget is None else budget,
        )
        self._supervisor.start()
        self._client = Client(self._requests, pairs, self._supervisor.wake)
        self._closing = threading.Lock()
        self._closed = False
        try:
            self._requests.wait_for_child()
        except BaseException:
            self.close()
            raise
        self._in_use = {network.name for network in networks}
        self.engines: Mapping[str, HostedEngine] = MappingProxyType(
            {one.name: HostedEngine(self, one) for one in self._supervisor.opened.networks}
        )
        info = self._supervisor.opened.chain
        self.chain = None if info is None else HostedChain(self._client, info, most_s)

    def deadline(self, at_ns: int | None) -> None:
        """Set when every run must be over, those under way and those that start later.

        At that time they raise DeadlineError; the network is told to end, and its process is ended
        when it does not. Until the deadline is moved or lifted, further runs raise at once.

        Parameters
        ----------
        at_ns : of `time.monotonic_ns`; now or earlier cancels at once; None lifts it.
        """
        self._requests.set_deadline(at_ns)

    def finish(self, at_ns: int) -> None:
        """Set the deadline for the last time: what moves or lifts it later has no effect.

        A child that does not end a run by then is ended without any grace, and none is started
        again. at_ns : as for `deadline`.
        """
        self._requests.set_deadline(at_ns, last=True)
        self._supervisor.finish()

    @property
    def health(self) -> HostHealth:
        """How the child is."""
        child, refusal = self._requests.child, self._requests.refusal
        supervisor = self._supervisor
        return HostHealth(
            ready=child is not None and refusal is None,
            pid=None if child is None else child.pid,
            running=self._requests.running,
            deaths=supervisor.deaths,
            ended_late=supervisor.ended_late,
            text=supervisor.last_death if refusal is None else str(refusal),
        )

    def run(
        self, network: str, inputs: Arrays, most_s: float | None
    ) -> dict[str, NDArray[np.generic]]:
        """See `HostedEngine.run`."""
        most_s = self._most_s if most_s is None else most_s
        until_ns = None if most_s is None else time.monotonic_ns() + int(most_s * 1e9)
        limit = Limit(network, most_s, until_ns)
        while True:
            pending = self._client.send(
                limit,
                inputs,
                lambda number, slot, arrays: RunNetwork(number, slot, network, arrays),
            )
            assert pending is not None
            answered = self._client.answer(pending, limit)
            if answered is not None:
                return answered[1]

    def done_with(self, network: str) -> None:
        """Note that an engine was closed; the child ends with the last one."""
        self._in_use.discard(network)
        if not self._in_use:
            self.close()

    def close(self) -> None:
        """End the child; runs under way raise EngineError."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._supervisor.close()
        # A caller that is still copying would write where something else was opened by then.
        if self._requests.wait_until_all_left(timeout_s=1.0):
            for memory in self._memory:
                memory.close()


class HostedEngine(Declared):
    """Implements Engine: one network of a host."""

    def __init__(self, host: EngineHost, info: EngineInfo) -> None:
        inputs = {name: (dtype, shape) for name, dtype, shape in info.inputs}
        super().__init__(info.name, info.digest, inputs, info.outputs)
        self._host = host
        self._runtime = info.runtime
        self._open = True

    @property
    def runtime(self) -> str:
        """What runs it in the child."""
        return self._runtime

    def run(self, inputs: Arrays, most_s: float | None = None) -> dict[str, NDArray[np.generic]]:
        """Run once; see `edgeapl.protocols.Engine.run`.

        Parameters
        ----------
        most_s : how long it may take, waiting included; None for what the host allows.

        Raises DeadlineError when there is no answer by then or by the host's deadline, EngineError
        also when the child dies meanwhile or is down for good.
        """
        if not self._open:
            raise EngineError("network was closed", self._name, "open it again")
        check_inputs(self._name, self._inputs, inputs)
        return self._host.run(self._name, inputs, most_s)

    def close(self) -> None:
        """Let go of it; with the last one of its host the child ends."""
        if self._open:
            self._open = False
            self._host.done_with(self._name)
