"""Measures the range of every tensor of a network, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

import numpy as np

from edgeapl.calibration.histogram import Histogram
from edgeapl.calibration.inputs import NetworkInputs
from edgeapl.calibration.ranges import PERCENTILE, Method, Range
from edgeapl.calibration.tensors import Network, Tensor, parts
from edgeapl.engines.registry import open_engine
from edgeapl.errors import EngineError

FIRST_LOOK = 8
"""Images after which the ranges are first compared; then at every doubling."""

STABLE = 0.05
"""Ranges are stable if none grew by more than this share at the last doubling: values beyond a
range that is too small by this much are clipped to its edge, an error of a twentieth of the range.
"""

HELD_BYTES = 128 << 20
"""Most bytes of tensors output by one run; the runtime needs as much again."""

MOST_ROWS_AT_ONCE = 16

Step = Callable[[int, int], None]
"""Called with the number of images measured, and their total."""


@dataclass(frozen=True, slots=True)
class Stability:
    """How ranges changed when images were added.

    images : number measured. change : largest growth, since the previous entry, of any range of a
    layer's input, relative to its width. tensor : where.
    """

    images: int
    change: float
    tensor: str


@dataclass(frozen=True, slots=True)
class NetworkRanges:
    """What was measured on one network.

    tensors : tensor to range. images : rows shown to it. stability : one entry per comparison but
    the first.
    """

    tensors: Mapping[str, Range]
    images: int
    stability: tuple[Stability, ...]


@dataclass(frozen=True, slots=True)
class MeasurementOptions:
    """method : ``minmax`` or ``percentile``. percentile : share of values kept, in percent.

    grow : stop as soon as the ranges are stable; else measure everything. threads : CPU threads.
    """

    method: Method = "percentile"
    percentile: float = PERCENTILE
    grow: bool = True
    threads: int = 1


def measure(
    name: str, model: bytes, inputs: NetworkInputs, how: MeasurementOptions, step: Step
) -> NetworkRanges:
    """Run a network on its inputs and measure every floating-point tensor.

    Parameters
    ----------
    name : used in errors. model : bytes of its ONNX file.
    inputs : what to run it on. how : what to measure, and when to stop. step : called with the
        progress.

    Tensors are measured a group at a time, so that memory does not grow with the set, and little
    with the network. Raises EngineError when a tensor is not finite.
    """
    network = Network(name, model)
    tensors = network.tensors()
    groups = parts(tensors, HELD_BYTES)
    weighed = {tensor.name for tensor in tensors if tensor.weighed}
    rows_at_once = network.fixed_rows or _rows_at_once(groups)
    seen: dict[str, Histogram] = {}
    looks: list[dict[str, Range]] = []
    stability: list[Stability] = []
    measured = 0
    for stop in _checkpoints(len(inputs), grow=how.grow):
        for number, group in enumerate(groups):
            engine = open_engine("onnxruntime", name, network.watched(group), threads=how.threads)
            for batch in inputs.batches(rows_at_once, measured, stop):
                _count(name, {**batch, **engine.run(batch)}, group, seen, how.method)
            engine.close()
            step(measured + (stop - measured) * (number + 1) // len(groups), len(inputs))
        measured = stop
        looks.append(_ranges(seen, how))
        if len(looks) > 1:
            stability.append(_change(weighed & looks[-2].keys(), looks[-2], looks[-1], measured))
            if how.grow and stability[-1].change <= STABLE:
                break
    return NetworkRanges(looks[-1], measured, tuple(stability))


def _rows_at_once(groups: tuple[tuple[Tensor, ...], ...]) -> int:
    largest = max(sum(tensor.row_bytes for tensor in group) for group in groups)
    return max(1, min(MOST_ROWS_AT_ONCE, HELD_BYTES // max(1, largest)))


def _checkpoints(count: int, *, grow: bool) -> list[int]:
    """Return the numbers of images after which the ranges are compared; the last is all."""
    looks = [FIRST_LOOK]
    while looks[-1] < count:
        looks.append(2 * looks[-1])
    return [*(look for look in looks if look < count), count]


def _count(
    name: str,
    values: Mapping[str, np.ndarray],
    group: tuple[Tensor, ...],
    seen: dict[str, Histogram],
    method: Method,
) -> None:
    for tensor in group:
        array = values[tensor.name]
        if array.dtype != np.float32 or not array.size:
            continue
        try:
            seen.setdefault(tensor.name, Histogram()).add(array, counted=method == "percentile")
        except ValueError as error:
            raise EngineError(
                "network gives numbers that are not finite",
                f"{name} {tensor.name}",
                "export the bundle again",
            ) from error


def _ranges(seen: Mapping[str, Histogram], how: MeasurementOptions) -> dict[str, Range]:
    if how.method == "minmax":
        return {name: (counts.low, counts.high) for name, counts in seen.items()}
    return {name: counts.percentile(how.percentile) for name, counts in seen.items()}


def _change(
    names: Set[str], before: Mapping[str, Range], now: Mapping[str, Range], images: int
) -> Stability:
    def growth(name: str) -> float:
        low, high = now[name]
        moved = max(abs(low - before[name][0]), abs(high - before[name][1]))
        return moved / (high - low) if high > low else 0.0

    worst = max(sorted(names or now), key=growth)
    return Stability(images, growth(worst), worst)
