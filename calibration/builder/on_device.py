"""GPU engines where they run: opened as at the station, warmed up, proven and timed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from time import perf_counter

import numpy as np

from edgeapl.bundle.load import Bundle
from edgeapl.bundle.specs import LimitsSpec
from edgeapl.calibration.builder.files import reference_opener
from edgeapl.calibration.builder.paired_timing import CELLS, GRID_ROUNDS, Measured, choose
from edgeapl.calibration.builder.proof_slides import ProofSlides
from edgeapl.calibration.validation.cells import with_classes
from edgeapl.calibration.validation.chain_replay import ChainReplay
from edgeapl.calibration.validation.engine_proof import EngineProof, prove_engine
from edgeapl.calibration.validation.network_passes import SlidePass, networks_in_order
from edgeapl.engines.exclusive import ExclusiveEngines
from edgeapl.engines.registry import open_chain, open_engine
from edgeapl.engines.store.folder import EngineFolder
from edgeapl.engines.store.record import CUTTER, Settings
from edgeapl.inference.routing import chain_links
from edgeapl.model import Model, ModelRequest
from edgeapl.model.opener import OpenNetworks, open_resolved
from edgeapl.model.resolution import ResolvedModel, links_of, resolve
from edgeapl.protocols import CellChain, Engine
from edgeapl.types import UInt8

BATCHES = (1, 4, 16, 32)
"""Batches to try if the plans take as many; small ones answer soonest at a station."""

USUAL = Settings(threads=1, batch_size=16)
"""Preference among plans that cannot be timed here."""


@contextmanager
def opened_on_device(bundle: Bundle, engines: EngineFolder) -> Iterator[Model]:
    """Open plans as the station does, with their chain, and let them run the self-test.

    The chain also outputs the classes that networks distinguish, which a proof compares. The
    self-test runs every plan and the chain, so that none is slow merely because it runs for the
    first time.

    Raises EngineError when a plan is refused, the GPU fails, or the self-test does.
    """
    with ExitStack() as opened:

        def open_all(_: ResolvedModel) -> OpenNetworks:
            ready: dict[str, Engine] = {}
            for name in bundle.manifest.networks:
                ready[name] = open_engine(
                    engines.record.target,
                    name,
                    engines.read(name),
                    threads=engines.record.settings.threads,
                    origin=engines.origin(name),
                    device=engines.record.built_for.number,
                )
                opened.callback(ready[name].close)
            chain = _chain(bundle, engines, ready)
            if chain is not None:
                opened.callback(chain.close)
            return OpenNetworks(ready, chain)

        yield open_resolved(resolve(ModelRequest(bundle.folder, engines=engines)), open_all)


def _chain(bundle: Bundle, engines: EngineFolder, ready: Mapping[str, Engine]) -> CellChain | None:
    if not links_of(bundle, engines):
        return None
    links = chain_links(with_classes(bundle.manifest))
    chained = {link.network: ready[link.network] for link in links}
    plan, origin = engines.read(CUTTER), engines.origin(CUTTER)
    return open_chain(engines.record.target, plan, links, chained, origin)


def prove_on_device(
    bundle: Bundle, model: Model, slides: ProofSlides, limits: LimitsSpec
) -> EngineProof:
    """Compare open plans with the bundle, passing cells through the chain if there is one."""
    names = tuple(bundle.manifest.networks)
    with ExclusiveEngines(names, reference_opener(bundle)) as reference:
        return prove_engine(
            bundle.manifest,
            reference,
            model.engines,
            slides.slides,
            limits,
            frames=slides.frames,
            chain=model.chain,
        )


def time_on_device(
    bundle: Bundle, model: Model, crops: UInt8, rounds: int = GRID_ROUNDS
) -> Measured:
    """Time open plans with each batch size they take, through the chain if there is one.

    Parameters
    ----------
    crops : uint8 (N, size, size, 3) RGB; repeated or cut.
    rounds : counted ones, after one that is not; their median is used.

    Every run has as many cells as the largest batch, and at least `CELLS`. A chain gets them on
    frames, so copying and cutting are included in the time, as at the station.
    """
    most = model.chain.most_cells if model.chain is not None else max(BATCHES)
    batches = [size for size in BATCHES if size <= most] or [most]
    cells = np.resize(crops, (max(CELLS, *batches), *crops.shape[1:]))
    found: dict[Settings, float] = {}
    for size in batches:
        taken = [_seconds(bundle, model, cells, size) for _ in range(rounds + 1)]
        settings = USUAL.model_copy(update={"batch_size": size})
        found[settings] = median(taken[1:]) / len(cells)
    return Measured(choose(found), {one.text: seconds for one, seconds in found.items()})


def _seconds(bundle: Bundle, model: Model, cells: UInt8, batch_size: int) -> float:
    slide: SlidePass | ChainReplay
    if model.chain is None:
        slide = SlidePass(bundle.manifest, model.engines, cells, batch_size)
        order: Sequence[str] = networks_in_order(bundle.manifest)
    else:
        slide = ChainReplay(bundle.manifest, model.engines, model.chain, cells, batch_size)
        order = ()
    start = perf_counter()
    for network in order:
        slide.run_network(network)
    slide.answers()
    return perf_counter() - start
