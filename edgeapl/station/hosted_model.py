"""A model whose networks run in child processes, so that no network can hold the station up.

On a processor the networks that find cells, those that judge cells and the head have a process
each: when one is killed at its deadline, the others still answer. On a GPU they share one process:
three contexts would take turns on it, each with memory of its own. There a process that is killed
for one group is missed by all until it is back, and time for that is kept back from the budget.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from edgeapl.bundle.manifest import Manifest
from edgeapl.closable import ClosesItself
from edgeapl.engines.hosted.host import EngineHost
from edgeapl.engines.hosted.networks import ChainFile, GroupFiles, chain_file, network_files
from edgeapl.engines.hosted.service import NetworkService
from edgeapl.engines.registry import ON_GPU
from edgeapl.model import Model, ModelRequest
from edgeapl.model.opener import OpenNetworks, open_resolved
from edgeapl.model.resolution import ResolvedModel, resolve
from edgeapl.pipeline import Budget
from edgeapl.pipeline.options import RESERVE_S

HEAD_S = 1.0
"""The head is one small layer: it answers in a millisecond, or something is wrong with it."""

LAST_HEAD_S = 0.5
"""For the last runs of the head when the station must end within 3 s."""

RUN_S = 120.0
"""Longest run of a batch, whatever the budget."""


MOST_BACK_S = 10.0
"""Most that is kept back from the budget for a process on a GPU to be started again."""


class NetworkGroup(str, Enum):
    """The networks that share a deadline, and on a processor a process."""

    SEGMENT = "segment"
    CELLS = "cells"
    HEAD = "head"


@dataclass(frozen=True, slots=True, eq=False)
class HostedModel(ClosesItself):
    """A model and the processes that its networks run in.

    back_s : how long the head may have to wait until a process that it shares is back, s.
    """

    model: Model
    hosts: Mapping[NetworkGroup, EngineHost]
    back_s: float = 0.0

    def budget(self, seconds: float) -> Budget:
        """Return a budget that ends runs of these processes."""
        return Budget(
            seconds,
            self._canceller(NetworkGroup.CELLS),
            self._canceller(NetworkGroup.SEGMENT),
            reserve_s=RESERVE_S + self.back_s,
        )

    def deadline(self, at_ns: int | None) -> None:
        """End all runs except the head's at this monotonic time; None lifts the deadline."""
        for group, host in self.hosts.items():
            if group is not NetworkGroup.HEAD:
                host.deadline(at_ns)

    def stop_now(self) -> None:
        """End all runs for good, the head's a little later; no process is restarted."""
        now = time.monotonic_ns()
        for group, host in self.hosts.items():
            host.finish(now + int(LAST_HEAD_S * 1e9) if group is NetworkGroup.HEAD else now)

    @property
    def trouble(self) -> tuple[str, ...]:
        """Processes that are down, in words."""
        return tuple(
            f"the networks to {' and '.join(_WORDS[group] for group in groups)} are down: "
            f"{service.health.text}"
            for service, groups in self._services.items()
            if not service.health.ready and service.health.text
        )

    @property
    def restarts(self) -> int:
        """How often a process died or had to be killed."""
        healths = [service.health for service in self._services]
        return sum(health.deaths + health.ended_late for health in healths)

    def close(self) -> None:
        """End the processes."""
        for host in self.hosts.values():
            host.close()

    @property
    def _services(self) -> Mapping[NetworkService, tuple[NetworkGroup, ...]]:
        """The processes, and the groups in each."""
        groups: dict[NetworkService, tuple[NetworkGroup, ...]] = {}
        for group, host in self.hosts.items():
            groups[host.service] = (*groups.get(host.service, ()), group)
        return groups

    def _canceller(self, group: NetworkGroup) -> HostDeadline:
        return HostDeadline(self.hosts.get(group))


@dataclass(frozen=True, slots=True)
class HostDeadline:
    """Sets the deadline of a host, if there is one."""

    host: EngineHost | None

    def __call__(self, at_ns: int | None) -> None:
        """End all its runs at this monotonic time; None lifts the deadline."""
        if self.host is not None:
            self.host.deadline(at_ns)


_WORDS = {
    NetworkGroup.SEGMENT: "find cells",
    NetworkGroup.CELLS: "judge cells",
    NetworkGroup.HEAD: "judge the slide",
}


def open_hosted(wanted: ResolvedModel | ModelRequest | Path) -> HostedModel:
    """Open a model in child processes and prove it; see `edgeapl.model.open_model`.

    Parameters
    ----------
    wanted : a model; what is not resolved yet is resolved here.

    Raises BundleError, EngineError, or DeadlineError when a network hangs in the self-test.
    """
    resolved = wanted if isinstance(wanted, ResolvedModel) else resolve(wanted)
    with ExitStack() as opened:
        hosts: dict[NetworkGroup, EngineHost] = {}

        def open_all(model: ResolvedModel) -> OpenNetworks:
            for name, host in _start(model, opened).items():
                hosts[NetworkGroup(name)] = host
            by_name = (host.engines for host in hosts.values())
            return OpenNetworks(
                {name: engine for engines in by_name for name, engine in engines.items()},
                hosts[NetworkGroup.CELLS].chain if NetworkGroup.CELLS in hosts else None,
            )

        model = open_resolved(resolved, open_all)
        opened.pop_all()
    hosted = HostedModel(model, hosts, _back_s(hosts))
    if NetworkGroup.HEAD in hosts:
        hosts[NetworkGroup.HEAD].most_s = HEAD_S + hosted.back_s
    return hosted


def _start(model: ResolvedModel, opened: ExitStack) -> Mapping[str, EngineHost]:
    """Start the processes of a model; `opened` closes the hosts, by their groups."""
    files = _files_of_groups(model)
    processes = [files] if model.target in ON_GPU else [[group] for group in files]
    started: dict[str, EngineHost] = {}
    for groups in processes:
        hosts = EngineHost.open_together(groups)
        for host in hosts.values():
            opened.enter_context(host)
        started |= hosts
    return started


def _files_of_groups(model: ResolvedModel) -> list[GroupFiles]:
    """Return what the groups of a model open; those without networks are left out."""
    files = network_files(
        model.bundle,
        threads=model.threads,
        engines=model.engines,
        engine_threads=model.request.engine_threads,
    )
    groups = groups_of(model.bundle.manifest)
    chain = _chain(model)
    found = []
    for group in NetworkGroup:
        runs = model.workers if group is NetworkGroup.CELLS else 1
        own = tuple(replace(file, workers=runs) for file in files if groups[file.name] is group)
        if own:
            most_s = HEAD_S if group is NetworkGroup.HEAD else RUN_S
            chained = chain if group is NetworkGroup.CELLS else None
            found.append(GroupFiles(group.value, own, chained, runs, most_s))
    return found


def _back_s(hosts: Mapping[NetworkGroup, EngineHost]) -> float:
    """Return how long a process that several groups share takes to be back; 0 without one."""
    services = {host.service for host in hosts.values()}
    if len(services) == len(hosts):
        return 0.0
    return min(MOST_BACK_S, max(service.opened_in_s for service in services))


def _chain(model: ResolvedModel) -> ChainFile | None:
    """Return the chain of the networks that judge cells, if there is one."""
    engines, links = model.engines, model.links
    return None if engines is None or not links else chain_file(engines, links)


def groups_of(manifest: Manifest) -> Mapping[str, NetworkGroup]:
    """Return the group of every network of a bundle."""
    groups = dict.fromkeys(manifest.networks, NetworkGroup.CELLS)
    groups |= dict.fromkeys(manifest.detector_networks, NetworkGroup.SEGMENT)
    if manifest.reducer.head is not None:
        groups[manifest.reducer.head] = NetworkGroup.HEAD
    return groups
