"""Which layers suffer from fewer bits, and which must be kept higher to stay within a limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.calibration.quantise.layers import MOST_GROUPS, Layers, layer_groups
from edgeapl.engines.registry import open_engine
from edgeapl.errors import EngineError
from edgeapl.protocols import Arrays

Range = tuple[float, float]
Quantise = Callable[[bytes, Mapping[str, Range], frozenset[str]], bytes]
"""`qdq_onnxruntime` or `qdq_tensorrt`."""

Answers = dict[str, NDArray[np.float64]]
Step = Callable[[int, int], None]
"""Called with the number of groups done, and their total."""


@dataclass(frozen=True, slots=True)
class LayerDamage:
    """What happens if only some layers compute in eight bits.

    layers : which. damage : root mean square change of the outputs, each relative to the output's
    standard deviation over the cells; the largest of the outputs. flipped : share of rows whose
    class changes; 0 for a network without classes.
    """

    layers: Layers
    damage: float
    flipped: float


@dataclass(frozen=True, slots=True)
class RepairStep:
    """One attempt.

    kept : nodes in higher precision. layers : layers with weights among them.
    flip_rate : measured with them.
    """

    kept: frozenset[str]
    layers: tuple[str, ...]
    flip_rate: float


@dataclass(frozen=True, slots=True)
class Repair:
    """The search for layers to keep.

    steps : in the order of trial; the first keeps nothing. chosen : the step with the fewest layers
    within the limit; None if not even the last one was.
    """

    steps: tuple[RepairStep, ...]
    chosen: RepairStep | None


def rank_layers(
    name: str,
    model: bytes,
    ranges: Mapping[str, Range],
    inputs: Sequence[Arrays],
    quantise: Quantise,
    *,
    classes: Sequence[str] = (),
    outputs: Sequence[str] = (),
    most: int = MOST_GROUPS,
    threads: int = 1,
    runtime: str = "onnxruntime",
    step: Step | None = None,
) -> tuple[LayerDamage, ...]:
    """Quantise one group of layers at a time and measure its effect, worst first.

    Parameters
    ----------
    name : used in errors. model : ONNX file in FP32.
    ranges : tensor to smallest and largest value.
    inputs : a few batches of real inputs; 16 cells are enough to rank.
    classes : outputs that are exclusive classes. outputs : those that count; all by default.
    most : groups, each of which costs one session and one run over `inputs`.
    runtime : to run them on; one of `edgeapl.engines.registry.BACKENDS`.
    """
    groups = layer_groups(model, most)
    everything = frozenset(node for group in groups for node in group.nodes)
    wanted = _answers(runtime, name, model, inputs, threads)
    counted = tuple(outputs) or tuple(wanted)
    found = []
    for number, group in enumerate(groups):
        alone = quantise(model, ranges, everything - group.nodes)
        given = _answers(runtime, name, alone, inputs, threads)
        damage = max(_relative(given[one], wanted[one]) for one in counted)
        found.append(LayerDamage(group, damage, _flipped(given, wanted, classes)))
        if step is not None:
            step(number + 1, len(groups))
    return tuple(sorted(found, key=lambda one: (-one.damage, one.layers.name)))


def repair(
    ranked: Sequence[LayerDamage],
    flip_rate: Callable[[frozenset[str]], float],
    limit: float,
) -> Repair:
    """Keep layers in higher precision, the most damaging first, until the limit holds.

    Parameters
    ----------
    ranked : from `rank_layers`. flip_rate : builds the network with these nodes kept and measures
        it.
    limit : largest flip rate, 0 to 1.

    The number of kept groups doubles until the limit holds, then the interval is bisected: for 40
    groups at most 12 networks are built. Keeping more layers is assumed to flip no more cells; the
    chosen step was measured in any case.
    """
    steps: list[RepairStep] = []

    def attempt(count: int) -> bool:
        kept = frozenset(node for one in ranked[:count] for node in one.layers.nodes)
        layers = tuple(name for one in ranked[:count] for name in one.layers.weighed)
        steps.append(RepairStep(kept, layers, flip_rate(kept)))
        return steps[-1].flip_rate <= limit

    failed, count = -1, 0
    while not attempt(count):
        if count == len(ranked):
            return Repair(tuple(steps), None)
        failed, count = count, min(max(1, 2 * count), len(ranked))
    chosen = steps[-1]
    while count - failed > 1:
        middle = (failed + count) // 2
        if attempt(middle):
            count, chosen = middle, steps[-1]
        else:
            failed = middle
    return Repair(tuple(steps), chosen)


def _answers(
    runtime: str, name: str, model: bytes, inputs: Sequence[Arrays], threads: int
) -> Answers:
    engine = open_engine(runtime, name, model, threads=threads)
    try:
        runs = [engine.run(batch) for batch in inputs]
    finally:
        engine.close()
    if not runs:
        raise EngineError("no inputs to rank layers on", name, "give images with --frames")
    return {
        output: np.concatenate([np.asarray(run[output], dtype=np.float64) for run in runs])
        for output in runs[0]
        if np.issubdtype(runs[0][output].dtype, np.floating)
    }


def _relative(given: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """Return the root mean square change, in units of the output's own standard deviation."""
    apart = float(np.sqrt(np.mean((given - wanted) ** 2)))
    spread = float(wanted.std())
    if not np.isfinite(apart):
        return float("inf")
    return apart / spread if spread else apart


def _flipped(given: Answers, wanted: Answers, classes: Sequence[str]) -> float:
    if not classes:
        return 0.0
    before = np.stack([wanted[name] for name in classes], axis=1).argmax(axis=1)
    after = np.stack([given[name] for name in classes], axis=1).argmax(axis=1)
    return float(np.mean(before != after))
