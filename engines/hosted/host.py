"""Networks that run in a child process, so that a deadline holds whatever they do."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edgeapl.closable import ClosesItself
from edgeapl.engines.hosted.chain import HostedChain
from edgeapl.engines.hosted.messages import EngineInfo, RunNetwork
from edgeapl.engines.hosted.networks import ChainFile, GroupFiles, NetworkFile
from edgeapl.engines.hosted.requests import Limit
from edgeapl.engines.hosted.service import OPENING_S, HostHealth, NetworkService
from edgeapl.engines.input_checks import Declared, check_inputs
from edgeapl.errors import EngineError
from edgeapl.process.restart import RestartBudget
from edgeapl.protocols import Arrays

ALONE = "networks"
"""Name of the only group of a process."""


class EngineHost(ClosesItself):
    """A group of networks in a child process; made by `open` or `open_together`.

    Parameters
    ----------
    service : the child, which has the group in it. group : what was opened there.
    most_s : how long a run may take; changed for those that start later.

    All methods may be called from any thread. A child that died, or was ended, is started again at
    once; runs wait for it.
    """

    def __init__(self, service: NetworkService, group: GroupFiles) -> None:
        self._service = service
        self._group = group.name
        self._client = service.clients[group.name]
        self.most_s = group.most_s
        self._in_use = {network.name for network in group.networks}
        self.engines: Mapping[str, HostedEngine] = MappingProxyType(
            {
                one.name: HostedEngine(self, one)
                for one in service.opened.networks
                if one.name in self._in_use
            }
        )
        info = None if group.chain is None else service.opened.chain
        self.chain = None if info is None else HostedChain(self._client, info, group.most_s)

    @classmethod
    def open(
        cls,
        networks: Sequence[NetworkFile],
        *,
        chain: ChainFile | None = None,
        workers: int = 1,
        most_s: float | None = None,
        opening_s: float = OPENING_S,
        budget: RestartBudget | None = None,
    ) -> EngineHost:
        """Start a child process for networks.

        Parameters
        ----------
        networks : what it opens, see `edgeapl.engines.hosted.networks.network_files`.
        chain : what it opens behind a plan that cuts cells; then the host's `chain` is one, else
            None.
        workers : runs at the same time besides those of the chain; more callers wait.
        most_s : how long any run may take, waiting included; None for as long as it wants.
        opening_s : how long opening all networks may take.
        budget : how often it may die.

        Raises EngineError when a network is refused at the first start.
        """
        group = GroupFiles(ALONE, tuple(networks), chain, workers, most_s)
        return cls(NetworkService([group], opening_s, budget), group)

    @classmethod
    def open_together(
        cls,
        groups: Sequence[GroupFiles],
        *,
        opening_s: float | None = None,
        budget: RestartBudget | None = None,
    ) -> Mapping[str, EngineHost]:
        """Start one child process for several groups, so that they share the context of a GPU.

        Each group keeps its own deadline and its own runs. A child that is ended for one of them
        is missed by all until it is back; their runs that were under way are asked again.

        Parameters
        ----------
        groups : each under a unique name.
        opening_s : for all of them; None for as long as `open` gives each. budget : as for `open`.

        Returns
        -------
        The hosts by the names of their groups; the child ends when all are closed.
        """
        opening_s = OPENING_S * len(groups) if opening_s is None else opening_s
        service = NetworkService(groups, opening_s, budget)
        return {group.name: cls(service, group) for group in groups}

    def deadline(self, at_ns: int | None) -> None:
        """Set when every run must be over, those under way and those that start later.

        At that time they raise DeadlineError; the network is told to end, and its process is ended
        when it does not. Until the deadline is moved or lifted, further runs raise at once.

        Parameters
        ----------
        at_ns : of `time.monotonic_ns`; now or earlier cancels at once; None lifts it.
        """
        self._service.requests.set_deadline(self._group, at_ns)

    def finish(self, at_ns: int) -> None:
        """Set the deadline for the last time: what moves or lifts it later has no effect.

        When all groups of the child have their last deadline, it is ended without any grace if a
        run is not over by the latest of them, and none is started again. at_ns : as for `deadline`.
        """
        self._service.requests.set_deadline(self._group, at_ns, last=True)
        self._service.wake()

    @property
    def service(self) -> NetworkService:
        """The child, which other groups may share."""
        return self._service

    @property
    def health(self) -> HostHealth:
        """How the child is."""
        return self._service.health

    def run(
        self, network: str, inputs: Arrays, most_s: float | None
    ) -> dict[str, NDArray[np.generic]]:
        """See `HostedEngine.run`."""
        most_s = self.most_s if most_s is None else most_s
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
        """Note that an engine was closed; with the last one the group is closed."""
        self._in_use.discard(network)
        if not self._in_use:
            self.close()

    def close(self) -> None:
        """Leave the child, which ends with its last group; runs under way then raise EngineError.

        A second call does nothing.
        """
        self._service.done_with(self._group)


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
