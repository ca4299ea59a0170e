"""Which networks the child shall open; it reads the files itself and checks their digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.load import Bundle
from edgeapl.engines.registry import Origin, open_chain, open_engine
from edgeapl.engines.store.folder import EngineFolder
from edgeapl.engines.store.record import CUTTER
from edgeapl.errors import EngineError
from edgeapl.protocols import CellChain, Engine, Link

MOST_BATCHES = 2
"""Of a chain, under way at once; each lies in a slot of its own until it is finished."""


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """One network.

    name, target, threads, workers, origin, device : as for
        `edgeapl.engines.registry.open_engine`.
    path : of its file, absolute. sha256 : hex, of its bytes as they were checked before.
    """

    name: str
    target: str
    path: Path
    sha256: str
    threads: int = 1
    origin: Origin | None = None
    workers: int = 1
    device: int = 0

    def open(self) -> Engine:
        """Read it, check it and make it ready; raises EngineError."""
        return open_engine(
            self.target,
            self.name,
            _checked(self.path, self.sha256),
            threads=self.threads,
            workers=self.workers,
            origin=self.origin,
            device=self.device,
        )


@dataclass(frozen=True, slots=True)
class ChainFile:
    """What cuts cells on a device, in front of networks that run there.

    target, links, origin : as for `edgeapl.engines.registry.open_chain`.
    path, sha256 : of the plan, as of a `NetworkFile`.
    """

    target: str
    path: Path
    sha256: str
    links: tuple[Link, ...]
    origin: Origin | None = None

    def open(self, engines: Mapping[str, Engine]) -> CellChain:
        """Read it, check it and chain these networks behind it; raises EngineError."""
        plan = _checked(self.path, self.sha256)
        chained = {link.network: engines[link.network] for link in self.links}
        return open_chain(self.target, plan, self.links, chained, self.origin)


@dataclass(frozen=True, slots=True)
class GroupFiles:
    """Networks with a deadline and runs of their own, beside others in the same process.

    chain : what some of them make; in a process one group at most has one.
    workers : runs at the same time besides those of the chain; more callers wait.
    most_s : how long any run may take, waiting included; None for as long as it wants. The host
        sees to it, not the child.
    """

    name: str
    networks: tuple[NetworkFile, ...]
    chain: ChainFile | None = None
    workers: int = 1
    most_s: float | None = None

    @property
    def slots(self) -> int:
        """Requests at the same time."""
        return self.workers + (0 if self.chain is None else MOST_BATCHES)


def _checked(path: Path, digest: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        text = error.strerror or type(error).__name__
        raise EngineError("network cannot be read", path, text) from error
    if sha256(data) != digest:
        text = "stop, put the right file back and start again"
        raise EngineError("network was changed since it was checked", path, text)
    return data


def chain_file(engines: EngineFolder, links: Sequence[Link]) -> ChainFile:
    """Return the plan that cuts cells, one of these engines, with networks behind it."""
    cutter = engines.record.files[CUTTER]
    return ChainFile(
        engines.record.target,
        (engines.folder / cutter.file).absolute(),
        cutter.sha256,
        tuple(links),
        engines.origin(CUTTER),
    )


def network_files(
    bundle: Bundle,
    *,
    target: str = "onnxruntime",
    threads: int = 1,
    engines: EngineFolder | None = None,
    engine_threads: int | None = None,
) -> tuple[NetworkFile, ...]:
    """Return the networks of a bundle, or the engines that stand in their place.

    Parameters
    ----------
    target, threads : for the bundle's networks; engines bring their own.
    engine_threads : in place of what was measured for engines; None for that.

    Raises BundleError or EngineError when a file was changed since it was opened.
    """
    if engines is None:
        for spec in bundle.manifest.networks.values():
            bundle.read(spec.file)  # checks more than the digest
        return tuple(
            NetworkFile(
                name,
                target,
                (bundle.folder / spec.file).absolute(),
                bundle.manifest.files[spec.file],
                threads,
            )
            for name, spec in bundle.manifest.networks.items()
        )
    record = engines.record
    return tuple(
        NetworkFile(
            name,
            record.target,
            (engines.folder / record.networks[name].file).absolute(),
            record.networks[name].sha256,
            engine_threads or record.settings.threads,
            engines.origin(name),
            device=record.built_for.number,
        )
        for name in bundle.manifest.networks
    )
