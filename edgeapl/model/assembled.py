"""A model: the parts of a bundle, assembled."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

from edgeapl.bundle.digest import sha256_of_parts
from edgeapl.bundle.load import Bundle
from edgeapl.bundle.manifest import Manifest
from edgeapl.bundle.specs import SegmenterSpec
from edgeapl.closable import ClosesItself
from edgeapl.engines.store.folder import EngineFolder
from edgeapl.protocols import CellChain, Engine, Segmenter
from edgeapl.stages.clearance import Clearing
from edgeapl.stages.detect import FasterRcnnSegmenter
from edgeapl.stages.domain import DomainModel
from edgeapl.stages.reduce import Reducer
from edgeapl.stages.sam import SamSegmenter
from edgeapl.stages.segment import HsvWatershed
from edgeapl.stages.whole_image import WholeField
from edgeapl.types import Certificate


@dataclass(frozen=True, slots=True, eq=False)
class Model(ClosesItself):
    """Everything that is needed to examine slides with one bundle.

    engines : network name to engine.
    clearing : what may be cleared.
    chain : cuts cells and runs their networks on a device; None without one.
    engine_digest : SHA-256 (hex) over the names and digests of all networks as they run, and of
        what cuts the cells.
    batch_size, workers : how the cell networks are the fastest here: cells in one run, and runs at
        the same time.
    waiting : runs that may wait inside the runtime besides; see
        `edgeapl.engines.registry.waiting_runs`.
    proven_elsewhere : the engines run on a GPU and were proven on a processor alone.
    built : the engines; None where the bundle's own networks run.
    """

    bundle: Bundle
    engines: Mapping[str, Engine]
    segmenter: Segmenter
    reducer: Reducer
    domain: DomainModel | None
    clearing: Clearing
    engine_digest: str
    batch_size: int = 16
    workers: int = 1
    waiting: int = 0
    chain: CellChain | None = None
    proven_elsewhere: bool = False
    built: EngineFolder | None = None

    @property
    def head(self) -> Engine | None:
        """The network that judges the slide, if the reducer has one."""
        name = self.bundle.manifest.reducer.head
        return None if name is None else self.engines[name]

    @property
    def runtime(self) -> str:
        """What runs the networks."""
        runtimes = {engine.runtime for engine in self.engines.values()}
        if self.chain is not None:
            runtimes.add(self.chain.runtime)
        return " + ".join(sorted(runtimes))

    def close(self) -> None:
        """Release all engines."""
        if self.chain is not None:
            self.chain.close()
        for engine in self.engines.values():
            engine.close()


def assemble(
    bundle: Bundle, engines: Mapping[str, Engine], chain: CellChain | None = None
) -> Model:
    """Assemble a model from opened engines; nothing is proven yet."""
    manifest = bundle.manifest
    domain = None
    if manifest.domain is not None:
        domain = DomainModel.load(io.BytesIO(bundle.read(manifest.domain.file)))
    parts = [part for name in sorted(engines) for part in (name, engines[name].digest)]
    if chain is not None:
        parts += ["cells are cut by", chain.digest]
    return Model(
        bundle=bundle,
        engines=engines,
        segmenter=segmenter_of(manifest, engines),
        reducer=Reducer.of(manifest),
        domain=domain,
        clearing=clearing_of(bundle),
        engine_digest=sha256_of_parts(parts),
        chain=chain,
    )


def clearing_of(bundle: Bundle) -> Clearing:
    """Return what a bundle may clear."""
    spec = bundle.manifest.certificate
    if spec is None:
        return Clearing()
    certificate = Certificate(
        digest=bundle.manifest.files[spec.evidence],
        positive=spec.positive,
        clear_below=spec.clear_below,
        alpha=spec.alpha,
        confidence=spec.confidence,
        patients=spec.patients,
        cleared=spec.cleared,
        bound=spec.bound,
        drawn=spec.drawn,
    )
    return Clearing(certificate, DomainModel.load(io.BytesIO(bundle.read(spec.look))))


def segmenter_of(manifest: Manifest, engines: Mapping[str, Engine]) -> Segmenter:
    """Return what finds the cells; a detector and Segment Anything run two of the engines."""
    return segmenter_by(manifest.segmenter, engines)


def segmenter_by(spec: SegmenterSpec, engines: Mapping[str, Engine]) -> Segmenter:
    """Return what finds the cells, by its part of the manifest."""
    detector, sam = spec.detector, spec.sam
    if detector is not None:
        return FasterRcnnSegmenter(engines[detector.detector], engines[detector.box_head], detector)
    if sam is not None:
        return SamSegmenter(engines[sam.encoder], engines[sam.decoder], sam)
    if spec.kind == "field":
        return WholeField()
    return HsvWatershed()
