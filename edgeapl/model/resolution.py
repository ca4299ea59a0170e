"""Resolve a request: open the bundle, choose engines, and settle every number that was left open.

All refusals that need no network to run are made here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.cores import cpu_cores
from edgeapl.engines.registry import ON_GPU, PLANS
from edgeapl.engines.store.folder import EngineFolder
from edgeapl.errors import DeadlineError, EngineError, UsageError
from edgeapl.inference.routing import chain_links
from edgeapl.model.engine_choice import FROM_BUNDLE, ChosenEngines, choose_engines
from edgeapl.model.request import ModelRequest
from edgeapl.model.segmenter_choice import check_segmenter
from edgeapl.protocols import Link

RUN_PIXELS = 90_000
"""Pixels in one run of the bundle's own networks on a CPU. With more the layers' values leave the
cache and fill the memory: see docs/measured.md, Speed, on cells of 299 px one by one and eight in
a run."""

RUN_CELLS = 8
"""Cells in one run however small they are: more are no faster, and the first answers come later."""

FEWER_BITS_TOLERANCE = 0.2
"""Engines in fewer bits were judged on hundreds of cells when they were built; on the few of the
self-test only a wrong or broken one differs by more."""


@dataclass(frozen=True, slots=True, eq=False)
class ResolvedModel:
    """A model that can be opened: a checked bundle, and how its networks run.

    chosen : the engines, and those that could not be used.
    """

    request: ModelRequest
    bundle: Bundle
    chosen: ChosenEngines

    @property
    def engines(self) -> EngineFolder | None:
        """The engines; None for the bundle's own networks."""
        return self.chosen.engines

    @property
    def target(self) -> str:
        """What runs the networks, one of `edgeapl.engines.registry.TARGETS`."""
        return self.request.runtime if self.engines is None else self.engines.record.target

    @property
    def threads(self) -> int:
        """CPU threads in one run."""
        if self.engines is None:
            return self.request.threads
        return self.request.engine_threads or self.engines.record.settings.threads

    @property
    def workers(self) -> int:
        """Parallel runs of the networks of cells."""
        return self.request.workers or fastest_workers(self.engines, self.threads)

    @property
    def batch_size(self) -> int:
        """Cells in one run."""
        if self.engines is None:
            return own_batch_size(self.bundle.manifest.crop.size_px)
        return self.engines.record.settings.batch_size

    @property
    def tolerance(self) -> float:
        """How far the self-test's answers may be off, if that is more than the bundle allows."""
        exact = self.engines is None or self.engines.record.precision == "fp32"
        return 0.0 if exact else FEWER_BITS_TOLERANCE

    @property
    def links(self) -> tuple[Link, ...]:
        """The networks of cells as a chain behind the plan that cuts cells; empty without one."""
        return links_of(self.bundle, self.engines)

    def on_own_networks(self, error: EngineError | DeadlineError) -> ResolvedModel:
        """Return the same model without its engines, which failed with this error."""
        refused = (*self.chosen.refused, error)
        return replace(self, chosen=ChosenEngines(None, FROM_BUNDLE, refused))


def resolve(request: ModelRequest | Path) -> ResolvedModel:
    """Check whether a request can be met, and settle what it leaves open; nothing runs yet.

    Parameters
    ----------
    request : a folder alone is short for `ModelRequest` of that bundle.

    Raises
    ------
    UsageError
        A number of threads or workers makes no sense, or the engines have no use for it; or the
        bundle cannot find cells in the way that is named.
    BundleError
        The bundle is damaged, incomplete, or not trusted.
    EngineError
        Named engines do not fit, or are not trusted.
    """
    if isinstance(request, Path):
        request = ModelRequest(request)
    threads, own_threads = request.engine_threads, request.threads
    for name, count in (
        ("threads", own_threads),
        ("threads", threads),
        ("workers", request.workers),
    ):
        if count is not None and count < 1:
            raise UsageError(f"{name} out of range", count, "give 1 or more")
    bundle = open_bundle(request.bundle, resign=request.resign)
    if request.trust is not None:
        request.trust.check(bundle)
    if request.segmenter is not None:
        check_segmenter(bundle.manifest.segmenter, request.segmenter)
    chosen = choose_engines(bundle, request.engines, request.trust)
    target = "" if chosen.engines is None else chosen.engines.record.target
    if threads is not None and target in ON_GPU:
        mend = "leave it out, or choose the bundle's own networks with --engines none"
        raise UsageError("engines on a GPU have no threads", f"--threads {threads}", mend)
    return ResolvedModel(request, bundle, chosen)


def links_of(bundle: Bundle, engines: EngineFolder | None) -> tuple[Link, ...]:
    """Return the networks of cells as a chain; empty unless engines have a plan that cuts cells."""
    has_cutter = engines is not None and engines.record.cutter is not None
    return chain_links(bundle.manifest) if has_cutter else ()


def own_batch_size(side: int) -> int:
    """Return the cells in one run with which a bundle's own networks are the fastest on a CPU.

    Parameters
    ----------
    side : of a cell's image, px.
    """
    return min(RUN_CELLS, max(1, RUN_PIXELS // side**2))


def fastest_workers(engines: EngineFolder | None, threads: int) -> int:
    """Return the number of parallel runs that is the fastest, as measured for the engines.

    Engines that do not know, and networks of the bundle, get as many as there are cores for. A
    process that may use fewer cores than it was measured on gets no more than that either.

    Parameters
    ----------
    threads : CPU threads in one run.
    """
    room = max(1, cpu_cores() // threads)
    measured = None if engines is None else engines.record.settings.workers
    if engines is None or measured is None:
        return room
    return measured if engines.record.target in PLANS else min(measured, room)
