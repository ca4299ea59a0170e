"""Open a model: its networks, its other parts, and its self-test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from edgeapl.engines.registry import open_chain, open_engine, waiting_runs
from edgeapl.engines.store.folder import EngineFolder
from edgeapl.engines.store.record import CUTTER
from edgeapl.model.assembled import Model, assemble
from edgeapl.model.golden import self_test
from edgeapl.model.reachability import check_reach
from edgeapl.model.request import ModelRequest
from edgeapl.model.resolution import ResolvedModel, resolve
from edgeapl.model.segmenter_choice import with_segmenter
from edgeapl.protocols import CellChain, Engine
from edgeapl.stages.clearance import Clearing


@dataclass(frozen=True, slots=True, eq=False)
class OpenNetworks:
    """The networks of a bundle, ready to run.

    engines : by the names of the networks. chain : of those that judge cells, on a device.
    waiting : runs that may wait inside the runtime; see `edgeapl.engines.registry.waiting_runs`.
    """

    engines: Mapping[str, Engine]
    chain: CellChain | None = None
    waiting: int = 0


NetworkOpener: TypeAlias = Callable[[ResolvedModel], OpenNetworks]
"""Opens all networks of a model, here or elsewhere; closes them itself when it fails."""


def open_model(request: ModelRequest | Path) -> Model:
    """Open a bundle in this process and prove that it gives its golden answers on this machine.

    Parameters
    ----------
    request : a folder alone is short for `ModelRequest` of that bundle.

    Raises what `resolve` raises, and EngineError when a network is refused or the self-test fails.
    """
    return open_resolved(resolve(request))


def open_resolved(resolved: ResolvedModel, networks: NetworkOpener | None = None) -> Model:
    """Open a resolved model and prove it; see `open_model`.

    Parameters
    ----------
    networks : opens the networks in another way, in child processes for one; None for here.
    """
    with ExitStack() as opened:
        ready = _open_here(resolved, opened) if networks is None else networks(resolved)
        model = assemble(resolved.bundle, ready.engines, ready.chain)
        model.reducer.check_head(model.head)
        check_reach(model)
        if resolved.request.self_test:
            self_test(model, resolved.tolerance)
        opened.pop_all()
    engines = resolved.engines
    model = replace(
        model,
        clearing=_clearing(model.clearing, engines),
        batch_size=resolved.batch_size,
        workers=resolved.workers,
        waiting=ready.waiting,
        proven_elsewhere=engines is not None and not engines.record.proven_where_it_runs,
        built=engines,
    )
    return with_segmenter(model, resolved.request.segmenter)


def _open_here(resolved: ResolvedModel, opened: ExitStack) -> OpenNetworks:
    """Open all networks in this process; `opened` closes them."""
    engines: dict[str, Engine] = {}
    for name in resolved.bundle.manifest.networks:
        engines[name] = _open_network(resolved, name)
        opened.callback(engines[name].close)
    chain = _open_chain(resolved, engines)
    if chain is not None:
        opened.callback(chain.close)
    return OpenNetworks(engines, chain, waiting_runs(resolved.target, resolved.workers))


def _open_network(resolved: ResolvedModel, name: str) -> Engine:
    bundle, engines, pin_cores = resolved.bundle, resolved.engines, resolved.request.pin_cores
    if engines is None:
        return open_engine(
            resolved.target,
            name,
            bundle.read(bundle.manifest.networks[name].file),
            threads=resolved.threads,
            workers=resolved.workers,
            pin_cores=pin_cores,
        )
    return open_engine(
        resolved.target,
        name,
        engines.read(name),
        threads=resolved.threads,
        workers=resolved.workers,
        pin_cores=pin_cores,
        origin=engines.origin(name),
        device=engines.record.built_for.number,
    )


def _open_chain(resolved: ResolvedModel, ready: Mapping[str, Engine]) -> CellChain | None:
    """Chain the networks of cells where a plan that cuts cells was built with theirs."""
    engines, links = resolved.engines, resolved.links
    if engines is None or not links:
        return None
    plan, origin = engines.read(CUTTER), engines.origin(CUTTER)
    chained = {link.network: ready[link.network] for link in links}
    return open_chain(resolved.target, plan, links, chained, origin)


def _clearing(clearing: Clearing, engines: EngineFolder | None) -> Clearing:
    """Take the certificate from engines in fewer bits that were not tried on its slides."""
    if clearing.certificate is None or engines is None:
        return clearing
    if engines.record.inherits(clearing.certificate.digest):
        return clearing
    text = (
        "these engines compute in fewer bits than what was proven, and were not tried on the same "
        "slides: build them with --evidence"
    )
    return replace(clearing, without=text)
