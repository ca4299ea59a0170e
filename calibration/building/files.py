"""The file of one network for one target and precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgeapl.bundle.load import Bundle
from edgeapl.calibration.quantise.fp16 import to_fp16
from edgeapl.calibration.quantise.qdq import qdq_onnxruntime, qdq_tensorrt
from edgeapl.calibration.quantise.rounding import rounded_everywhere
from edgeapl.calibration.ranges import Range, read_ranges
from edgeapl.engines.registry import PLANS
from edgeapl.engines.store.record import Precision
from edgeapl.errors import EngineError

Quantise = Callable[[bytes, Mapping[str, Range], frozenset[str]], bytes]
ALL = "all"


@dataclass(frozen=True, slots=True)
class MadeNetwork:
    """An ONNX file as the target takes it, and the layers that stayed in a higher precision.

    rounds : the target rounds to FP16 after every node.
    """

    onnx: bytes
    precision: Precision
    kept: tuple[str, ...]
    rounds: bool = False

    @property
    def provable(self) -> bytes:
        """The file to prove on a CPU.

        onnxruntime's CPU leaves out the rounding between nodes in FP16 that a GPU does; where the
        target is a GPU, the proof gets a file that rounds everywhere.
        """
        return rounded_everywhere(self.onnx) if self.rounds else self.onnx


def quantiser(target: str) -> Quantise:
    """Give the flavour of Q/DQ that a target fuses."""
    return qdq_tensorrt if target in PLANS else qdq_onnxruntime


def ranges_of(bundle: Bundle) -> dict[str, Mapping[str, Range]]:
    """Give the measured ranges of every network that is quantised.

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


def make_network(
    bundle: Bundle, name: str, target: str, precision: Precision, keep: frozenset[str]
) -> MadeNetwork:
    """Write one network in a precision; one without ranges stays in FP32 when INT8 is asked for.

    Parameters
    ----------
    keep : names of nodes that stay in a higher precision.
    """
    model = bundle.read(bundle.manifest.networks[name].file)
    if precision == "fp32":
        return MadeNetwork(model, "fp32", ())
    ranges = ranges_of(bundle) if precision == "int8" or bundle.manifest.calibration else {}
    if precision == "fp16":
        half, kept = to_fp16(model, keep, ranges.get(name))
        return MadeNetwork(half, "fp16", kept, rounds=target in PLANS)
    if name not in ranges:
        return MadeNetwork(model, "fp32", (ALL,))
    quantised = quantiser(target)(model, ranges[name], keep)
    if target in PLANS:
        quantised, _ = to_fp16(quantised, frozenset(), ranges[name])
    return MadeNetwork(quantised, "int8", tuple(sorted(keep)), rounds=target in PLANS)
