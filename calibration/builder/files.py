"""The file of one network for one target and precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.load import Bundle
from edgeapl.calibration.quantise.blocks import pad_channels
from edgeapl.calibration.quantise.fast_kernels import AMX_PRODUCTS, optimise_for_onnxruntime
from edgeapl.calibration.quantise.fp16 import to_fp16
from edgeapl.calibration.quantise.graph import read_graph, weighted_nodes
from edgeapl.calibration.quantise.qdq import (
    qdq_onnxruntime,
    qdq_tensorrt,
    quantised_layers,
)
from edgeapl.calibration.quantise.rounding import with_fp16_rounding, with_tf32_products
from edgeapl.calibration.ranges import Range, read_ranges
from edgeapl.cores import cpu_cores
from edgeapl.engines.exclusive import Opener
from edgeapl.engines.registry import PLANS, open_engine
from edgeapl.engines.store.machine import cpu
from edgeapl.engines.store.record import Precision, Settings
from edgeapl.errors import EngineError, StorageError
from edgeapl.protocols import Engine

Quantise = Callable[[bytes, Mapping[str, Range], frozenset[str]], bytes]
ALL = "all"


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """An ONNX file for a target, and the layers that stay in a higher precision.

    path : on disk, because all networks of a bundle may take a gigabyte. sha256 : of the file.
    exact : layers that were asked for in FP32, in a network of fewer bits.
    rounds : the target rounds to FP16 after every node.
    """

    path: Path
    sha256: str
    precision: Precision
    kept: tuple[str, ...]
    rounds: bool = False
    exact: tuple[str, ...] = ()

    def read(self) -> bytes:
        """Return the file's bytes. Raises EngineError when it was changed since it was made."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise EngineError("network cannot be read", self.path, str(error.strerror)) from error
        if sha256(data) != self.sha256:
            raise EngineError("network was changed while it was used", self.path, "build it again")
        return data

    def provable(self) -> bytes:
        """Return the file to prove on a CPU.

        Between FP16 nodes a GPU rounds, but onnxruntime's CPU does not. For a GPU target the proof
        therefore gets a file that rounds everywhere; for TF32, one whose layers multiply with
        as many bits only.
        """
        if self.precision == "tf32":
            return with_tf32_products(self.read())
        return with_fp16_rounding(self.read()) if self.rounds else self.read()


def file_opener(
    networks: Mapping[str, NetworkFile], target: str, settings: Settings, device: int = 0
) -> Opener:
    """Return an opener of the files for a target that runs ONNX files, as at the station.

    device : number of the GPU, for GPU targets.
    """

    def open_one(name: str) -> Engine:
        return open_engine(
            target,
            name,
            networks[name].read(),
            threads=settings.threads,
            workers=settings.workers or 1,
            device=device,
        )

    return open_one


def reference_opener(bundle: Bundle) -> Opener:
    """Return an opener of the bundle's networks as reference; runs keep no memory."""

    def open_one(name: str) -> Engine:
        model = bundle.read(bundle.manifest.networks[name].file)
        return open_engine("onnxruntime", name, model, threads=cpu_cores(), arena=False)

    return open_one


def quantiser(target: str) -> Quantise:
    """Return the quantiser whose Q/DQ nodes the target fuses."""
    return qdq_tensorrt if target in PLANS else qdq_onnxruntime


def ranges_of(bundle: Bundle) -> dict[str, Mapping[str, Range]]:
    """Return the measured ranges of every network to be quantised.

    Raises EngineError when the bundle was never calibrated.
    """
    calibration = bundle.manifest.calibration
    if calibration is None:
        raise EngineError(
            "bundle has no measured ranges, which INT8 needs",
            bundle.manifest.name,
            "run edgeapl calibrate first",
        )
    measured = read_ranges(bundle.read(calibration.ranges))
    found = {}
    for name, network in bundle.manifest.networks.items():
        ranges = measured.of(name, bundle.manifest.files[network.file])
        if ranges is not None:
            found[name] = ranges
    return found


def write_network(
    bundle: Bundle,
    name: str,
    target: str,
    precision: Precision,
    keep: frozenset[str],
    folder: Path,
    exact: frozenset[str] = frozenset(),
) -> NetworkFile:
    """Write one network in a precision; without ranges it stays in FP32 when INT8 is requested.

    Parameters
    ----------
    keep : names of nodes that stay in a higher precision. exact : those that stay in FP32 where
        `keep` alone would be FP16.
    folder : for the file; an existing file for this target, precision and name is replaced. An FP32
        network is the bundle's own file.
    """
    file = bundle.manifest.networks[name].file
    same = bundle.folder / file, bundle.manifest.files[file]
    if precision == "tf32":
        return NetworkFile(*same, "tf32", ())
    if precision == "fp32":
        return NetworkFile(*same, "fp32", ())
    ranges = ranges_of(bundle) if precision == "int8" or bundle.manifest.calibration else {}
    path = folder / f"{target}-{precision}-{name}.onnx"
    if precision == "fp16":
        half, kept = to_fp16(bundle.read(file), keep | exact, ranges.get(name))
        return NetworkFile(
            path, _write(path, half), "fp16", kept, target in PLANS, tuple(sorted(exact))
        )
    if name not in ranges:
        return NetworkFile(*same, "fp32", (ALL,))
    quantised = quantise_int8(bundle.read(file), target, ranges[name], keep | exact, exact)
    digest = _write(path, quantised)
    kept = tuple(sorted(keep | exact | kept_layers(bundle.read(file), quantised)))
    return NetworkFile(path, digest, "int8", kept, target in PLANS, tuple(sorted(exact)))


def kept_layers(model: bytes, quantised: bytes) -> frozenset[str]:
    """Return a network's layers with weights that are not in eight bits after quantising."""
    layers = {node.name for node in weighted_nodes(read_graph(model).graph)}
    return frozenset(layers.difference(quantised_layers(quantised)))


def quantise_int8(
    model: bytes,
    target: str,
    ranges: Mapping[str, Range],
    keep: frozenset[str],
    exact: frozenset[str] = frozenset(),
) -> bytes:
    """Quantise a network in the form that the target computes fastest on this machine.

    keep : names of nodes that are not quantised. exact : those of them that stay in FP32 where the
        target computes the others in FP16.
    """
    quantise = quantiser(target)
    if target in PLANS:
        half, _ = to_fp16(quantise(model, ranges, keep), exact, ranges)
        return half
    quantised = quantise(pad_channels(model), ranges, keep)
    if target != "onnxruntime":
        return quantised
    return optimise_for_onnxruntime(quantised, AMX_PRODUCTS if has_amx() else None)


def has_amx() -> bool:
    """Return whether this CPU multiplies tiles of int8 (AMX)."""
    return "amx_int8" in cpu().capability.split()


def _write(path: Path, model: bytes) -> str:
    """Write a file, and return its SHA-256 (hex)."""
    try:
        path.write_bytes(model)
    except OSError as error:
        mend = f"{error.strerror}: make room there"
        raise StorageError("network cannot be written", path, mend) from error
    return sha256(model)
