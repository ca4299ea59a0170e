"""Run the network that judges a slide, and check that its answers can be bounded."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import EngineError
from edgeapl.protocols import Engine
from edgeapl.types import Float32

Float64 = NDArray[np.float64]

MOST_POINTS = 1024
"""Points at which monotony is checked: about 10 ms of a small head."""

SLACK = 1e-6
"""Steps the wrong way that still count as float32 rounding of a probability."""


def ask_head(head: Engine, outputs: Sequence[str], values: Iterable[float]) -> Float64:
    """Run the head on one row; float64 (outputs,), not checked to be probabilities.

    Raises EngineError when it fails or has other inputs and outputs than one row needs.
    """
    if len(head.inputs) != 1:
        raise EngineError("head must have one input", ", ".join(head.inputs), "export it again")
    (name,) = head.inputs
    answers = head.run({name: np.array([list(values)], dtype=np.float32)})
    return np.array([_single(answers, output) for output in outputs])


MOST_ROWS = 16
"""Rows in one run of a head: what plans for GPUs are built to take."""


def ask_head_rows(head: Engine, outputs: Sequence[str], rows: Float32) -> Float64:
    """Run the head on many rows, float32 (N, D), several at a time if its first dimension is free.

    Returns float64 (N, outputs), not checked to be probabilities; raises EngineError as `ask_head`.
    """
    shapes = [shape for _, shape in head.inputs.values()]
    if len(shapes) != 1 or shapes[0][0] is not None:
        return np.stack([ask_head(head, outputs, row.tolist()) for row in rows])
    (name,) = head.inputs
    parts = []
    for start in range(0, len(rows), MOST_ROWS):
        some = np.ascontiguousarray(rows[start : start + MOST_ROWS], dtype=np.float32)
        answers = head.run({name: some})
        parts.append(np.stack([_column(answers, output, len(some)) for output in outputs], axis=1))
    return np.concatenate(parts)


def are_probabilities(values: Float64) -> bool:
    """Tell whether all values lie from 0 to 1; NaN does not."""
    return bool(((values >= 0) & (values <= 1)).all())


def check_monotone(head: Engine, outputs: Sequence[str], ratios: Sequence[str]) -> None:
    """Check on a grid that each output moves one way as any one ratio rises.

    The interval of a slide's probability is found at the corners of a box of ratios, which bound
    it only for such a head; logistic heads always are.

    Parameters
    ----------
    head, outputs : the network and the outputs that count.
    ratios : names of its ratios, in order.

    Raises EngineError that names the output and the ratio.
    """
    points = max((n for n in (9, 5, 3) if n ** len(ratios) <= MOST_POINTS), default=0)
    if not points:
        raise EngineError("head has too many ratios to be checked", len(ratios), "use at most 6")
    grid = itertools.product(np.linspace(0, 1, points).tolist(), repeat=len(ratios))
    answers = np.stack([ask_head(head, outputs, point) for point in grid])
    cube = answers.reshape(*[points] * len(ratios), len(outputs))
    for axis, ratio in enumerate(ratios):
        steps = np.diff(cube, axis=axis)
        # Written so that NaN counts as neither.
        rising, falling = (steps >= -SLACK).all(axis=axis), (steps <= SLACK).all(axis=axis)
        one_way = np.logical_or(rising, falling).reshape(-1, len(outputs))
        for column, output in enumerate(outputs):
            if not bool(one_way[:, column].all()):
                raise EngineError(
                    "head rises and falls with one ratio",
                    f"{output} with {ratio}",
                    "train a head that is monotone in each ratio",
                )


def _single(answers: Mapping[str, NDArray[np.generic]], output: str) -> float:
    return float(_column(answers, output, 1)[0])


def _column(answers: Mapping[str, NDArray[np.generic]], output: str, rows: int) -> Float64:
    """Return one output, float64 (rows,)."""
    if output not in answers:
        raise EngineError("head has no such output", output, f"it has {sorted(answers)}")
    if answers[output].size != rows:
        shape = answers[output].shape
        raise EngineError(
            "head output has the wrong shape", output, f"expected ({rows},), got {shape}"
        )
    return np.asarray(answers[output], dtype=np.float64).reshape(-1)
