"""Runs networks again for explanations: cell networks on a few cells, the head on single rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import EngineError
from edgeapl.inference.cell_views import mean_answers
from edgeapl.inference.routing import Answer, Route, Step, steps
from edgeapl.model import Model
from edgeapl.stages.views import view_of
from edgeapl.types import UInt8

Answers = dict[str, Answer | None]


def query_in_all_views(model: Model, crops: UInt8, batch_size: int) -> list[Answers]:
    """Return the answers that scores are made of: means over the views that the bundle asks for."""
    of_views = [
        query_networks(model, np.stack([view_of(crop, view) for crop in crops]), batch_size)
        for view in range(model.bundle.manifest.crop.views if len(crops) else 0)
    ]
    return [dict(mean_answers(each)) for each in zip(*of_views, strict=True)]


def query_networks(
    model: Model, crops: UInt8, batch_size: int, also: Sequence[str] = ()
) -> list[Answers]:
    """Return all answers about every cell as it lies: network to answer, None if not shown.

    Parameters
    ----------
    crops : uint8 (N, size, size, 3) RGB. batch_size : cells per run.
    also : outputs, ``network.output``, besides those that scores need.

    Raises EngineError.
    """
    answers: list[Answers] = [{} for _ in crops]
    for step in steps(model.bundle.manifest, also):
        shown = [row for row, known in enumerate(answers) if step.route(known) is Route.RUN]
        for known in answers:
            known[step.network] = None
        for start in range(0, len(shown), batch_size):
            rows = shown[start : start + batch_size]
            for row, answer in zip(rows, _run(model, step, crops, rows, answers), strict=True):
                answers[row][step.network] = answer
    return answers


def _run(
    model: Model,
    step: Step,
    crops: UInt8,
    rows: list[int],
    known: Sequence[Mapping[str, Answer | None]],
) -> list[Answer]:
    given: NDArray[np.generic] = crops[rows]
    if step.after is not None:
        network, output = step.after
        before = [known[row][network] for row in rows]
        given = np.stack([answer[output] for answer in before if answer is not None])
    outputs = step.checked(model.engines[step.network].run({step.input: given}), len(rows))
    return [{name: values[row] for name, values in outputs.items()} for row in range(len(rows))]


def head_probabilities(model: Model, rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Run the head on rows of features or ratios; the smallest output of each counts.

    Parameters
    ----------
    rows : (N, D) floats, passed one at a time, as a head may take only one.

    Returns
    -------
    float64 (N,), 0 to 1.

    Raises EngineError when the head fails or lacks an output.
    """
    head = model.head
    assert head is not None
    (given,) = head.inputs
    wanted = model.bundle.manifest.reducer.head_outputs
    judged = []
    for row in rows:
        answers = head.run({given: np.ascontiguousarray(row[None], dtype=np.float32)})
        if any(name not in answers for name in wanted):
            has = f"it has {list(answers)}"
            raise EngineError("head has no such output", ", ".join(wanted), has)
        judged.append(min(float(np.ravel(answers[name])[0]) for name in wanted))
    return np.array(judged)
