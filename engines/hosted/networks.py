"""Which networks the child shall open; it reads the files itself and checks their digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.load import Bundle
from edgeapl.engines.registry import Origin, open_engine
from edgeapl.engines.store.folder import EngineFolder
from edgeapl.engines.trt.plan import Place, PlanRecord
from edgeapl.errors import EngineError
from edgeapl.protocols import Engine


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """One network.

    name, target, threads, workers, origin : as for `edgeapl.engines.registry.open_engine`.
    path : of its file, absolute. sha256 : hex, of its bytes as they were checked before.
    """

    name: str
    target: str
    path: Path
    sha256: str
    threads: int = 1
    origin: Origin | None = None
    workers: int = 1

    def open(self) -> Engine:
        """Read it, check it and make it ready; raises EngineError."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            text = error.strerror or type(error).__name__
            raise EngineError("network cannot be read", self.path, text) from error
        if sha256(data) != self.sha256:
            text = "stop, put the right file back and start again"
            raise EngineError("network was changed since it was checked", self.path, text)
        return open_engine(
            self.target,
            self.name,
            data,
            threads=self.threads,
            workers=self.workers,
            origin=self.origin,
        )

    def to_json(self) -> dict[str, Any]:
        """Give all fields as JSON knows them."""
        return {**asdict(self), "path": str(self.path)}


def network_from_json(fields: Mapping[str, Any]) -> NetworkFile:
    """Read `NetworkFile.to_json` back."""
    origin = fields["origin"]
    if origin is not None:
        record = origin["record"]
        plan = PlanRecord(record["sha256"], record["size"], Place(**record["place"]))
        origin = Origin(plan, origin["machine"])
    return NetworkFile(**{**fields, "path": Path(fields["path"]), "origin": origin})


def network_files(
    bundle: Bundle,
    *,
    target: str = "onnxruntime",
    threads: int = 1,
    engines: EngineFolder | None = None,
) -> tuple[NetworkFile, ...]:
    """Give the networks of a bundle, or the engines that stand in their place.

    Parameters
    ----------
    target, threads : for the bundle's networks; engines bring their own.

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
            record.settings.threads,
            engines.origin(name),
        )
        for name in bundle.manifest.networks
    )
