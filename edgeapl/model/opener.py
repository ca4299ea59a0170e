"""Open a bundle for use, with the engines that were built for this machine if there are any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.bundle.trust import Trust
from edgeapl.cores import cpu_cores
from edgeapl.engines.registry import PLANS, open_chain, open_engine, waiting_runs
from edgeapl.engines.store.cache import cache_folder, kept_engines
from edgeapl.engines.store.folder import EngineFolder, check_fits, open_engines
from edgeapl.engines.store.local_target import device_here, runtime_version
from edgeapl.engines.store.record import CUTTER
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.inference.routing import chain_links
from edgeapl.model.assembled import Model, assemble
from edgeapl.model.golden import self_test
from edgeapl.model.reachability import check_reach
from edgeapl.protocols import CellChain, Engine, Link
from edgeapl.stages.clearance import Clearing

FROM_BUNDLE = "FP32 networks of the bundle in onnxruntime"


RUN_PIXELS = 90_000
"""Pixels in one run of the bundle's own networks on a CPU. With more the layers' values leave the
cache and fill the memory: see docs/measured.md, Speed, on cells of 299 px one by one and eight in
a run."""

RUN_CELLS = 8
"""Cells in one run however small they are: more are no faster, and the first answers come later."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """The networks of a bundle, ready to run.

    engines : by the names of the networks. chain : of those that judge cells, on a device.
    """

    engines: Mapping[str, Engine]
    chain: CellChain | None = None


Opener = Callable[[Bundle], Opened]
"""Opens all networks of a bundle; closes them itself when it fails."""

FEWER_BITS_TOLERANCE = 0.2
"""Engines in fewer bits were judged on hundreds of cells when they were built; on the few of the
self-test only a wrong or broken one differs by more."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which engines answer, in words, and those that could not be used, with the reason."""

    engines: EngineFolder | None
    text: str
    refused: tuple[EngineError | DeadlineError, ...] = ()


def choose_engines(
    bundle: Bundle, wanted: Path | Literal["auto", "none"], trust: Trust | None = None
) -> Chosen:
    """Choose engines for a bundle; nothing is built.

    Parameters
    ----------
    wanted : a folder, which must fit; ``auto``: the newest in the cache that fit, else the
        networks of the bundle; ``none``: those in any case.
    trust : what the station asks of engines; None away from a station.

    Raises EngineError when a named folder cannot be used.
    """
    if wanted == "none":
        return Chosen(None, FROM_BUNDLE)
    if isinstance(wanted, Path):
        engines = open_engines(wanted)
        _check(engines, bundle, trust)
        return Chosen(engines, _words(engines))
    refused = []
    for _, engines_or_error in kept_engines(cache_folder(), bundle.digest):
        try:
            if isinstance(engines_or_error, EngineError):
                raise engines_or_error
            _check(engines_or_error, bundle, trust)
        except EngineError as error:
            refused.append(error)
            continue
        return Chosen(engines_or_error, _words(engines_or_error), tuple(refused))
    return Chosen(None, FROM_BUNDLE, tuple(refused))


def open_model(
    folder: Path,
    *,
    threads: int = 1,
    target: str = "onnxruntime",
    proven: bool = True,
    engines: EngineFolder | None = None,
    opener: Opener | None = None,
    workers: int = 1,
    own_cores: bool = False,
    trust: Trust | None = None,
    resign: bool = False,
) -> Model:
    """Open a bundle and prove that it gives its golden answers on this machine.

    Parameters
    ----------
    folder : the bundle.
    threads : CPU threads inside one run of a network.
    target : runtime for all networks.
    proven : run the self-test; only who writes the golden answers may leave it out.
    engines : of `choose_engines`; in place of the bundle's networks.
    opener : opens all networks in another way, in another process for one.
    workers : runs of the cell networks at the same time.
    own_cores : for who shows all cells to one network, then to the next, as `score` does; see
        `edgeapl.engines.registry.open_engine`.
    trust : what the station asks of bundles and engines; None away from a station.
    resign : of `open_bundle`.

    Raises BundleError, or EngineError when a network is refused or the self-test fails.
    """
    bundle = open_bundle(folder, resign=resign)
    if trust is not None:
        trust.check(bundle)
        if engines is not None:
            trust.check_engines(engines.folder, engines.signer)
    with ExitStack() as opened:
        if opener is not None:
            ready = opener(bundle)
        else:
            here: dict[str, Engine] = {}
            for name in bundle.manifest.networks:
                here[name] = _open(
                    bundle, name, target, threads, engines, workers, own_cores=own_cores
                )
                opened.callback(here[name].close)
            ready = Opened(here, _chain(bundle, here, engines))
            if ready.chain is not None:
                opened.callback(ready.chain.close)
        model = assemble(bundle, ready.engines, ready.chain)
        model.reducer.check_head(model.head)
        check_reach(model)
        if proven:
            reduced = engines is not None and engines.record.precision != "fp32"
            self_test(model, FEWER_BITS_TOLERANCE if reduced else 0.0)
        opened.pop_all()
    model = replace(model, clearing=_clearing(model.clearing, engines))
    if engines is None:
        batch_size = own_batch_size(bundle.manifest.crop.size_px)
    else:
        batch_size = engines.record.settings.batch_size
    used = target if engines is None else engines.record.target
    waiting = 0 if opener is not None else waiting_runs(used, workers)
    return replace(
        model,
        batch_size=batch_size,
        workers=workers,
        waiting=waiting,
        proven_elsewhere=engines is not None and not engines.record.proven_where_it_runs,
    )


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


def own_batch_size(side: int) -> int:
    """Give the cells in one run with which a bundle's own networks are the fastest on a CPU.

    Parameters
    ----------
    side : of a cell's picture, px.
    """
    return min(RUN_CELLS, max(1, RUN_PIXELS // side**2))


def threads_of(engines: EngineFolder | None, threads: int) -> int:
    """Give the CPU threads inside one run: the engines', else those given."""
    return threads if engines is None else engines.record.settings.threads


def workers_of(engines: EngineFolder | None, threads: int) -> int:
    """Give the runs at the same time that are the fastest: as measured for the engines.

    Those that do not know, and networks of the bundle, get as many as there are cores for. A
    process that may use fewer cores than it was measured on gets no more than that either.

    Parameters
    ----------
    threads : CPU threads inside one run of a network of the bundle; engines bring their own.
    """
    room = max(1, cpu_cores() // threads_of(engines, threads))
    measured = None if engines is None else engines.record.settings.workers
    if engines is None or measured is None:
        return room
    return measured if engines.record.target in PLANS else min(measured, room)


def _open(
    bundle: Bundle,
    name: str,
    target: str,
    threads: int,
    engines: EngineFolder | None,
    workers: int,
    *,
    own_cores: bool,
) -> Engine:
    if engines is None:
        data = bundle.read(bundle.manifest.networks[name].file)
        return open_engine(
            target, name, data, threads=threads, workers=workers, own_cores=own_cores
        )
    return open_engine(
        engines.record.target,
        name,
        engines.read(name),
        threads=engines.record.settings.threads,
        workers=workers,
        own_cores=own_cores,
        origin=engines.origin(name),
        device=engines.record.built_for.number,
    )


def _chain(
    bundle: Bundle, ready: Mapping[str, Engine], engines: EngineFolder | None
) -> CellChain | None:
    """Chain the networks of cells where a plan that cuts cells was built with theirs."""
    links = links_here(bundle, engines)
    if engines is None or not links:
        return None
    plan, origin = engines.read(CUTTER), engines.origin(CUTTER)
    chained = {link.network: ready[link.network] for link in links}
    return open_chain(engines.record.target, plan, links, chained, origin)


def links_here(bundle: Bundle, engines: EngineFolder | None) -> tuple[Link, ...]:
    """Give the networks of cells as links of a chain, behind the plan that cuts cells.

    Empty where they cannot make one, or engines have no such plan.
    """
    there = engines is not None and engines.record.cutter is not None
    return chain_links(bundle.manifest) if there else ()


def _check(engines: EngineFolder, bundle: Bundle, trust: Trust | None) -> None:
    if trust is not None:
        trust.check_engines(engines.folder, engines.signer)
    target = engines.record.target
    if set(engines.record.networks) != set(bundle.manifest.networks):
        mend = "build it again with edgeapl build-engine"
        raise EngineError("engines are of other networks", engines.folder, mend)
    device = device_here(target, engines.record.built_for.number)
    check_fits(engines, bundle.digest, runtime_version(target), device)


def _words(engines: EngineFolder) -> str:
    record = engines.record
    return f"{record.precision} engines {engines.folder.name} in {record.target}"
