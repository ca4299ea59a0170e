"""Whether a recipe's probabilities really are probabilities, made only once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest
from edgeapl.errors import ConfigError
from edgeapl.export.recipes.recipe import NetworkRecipe, Output

Rows = NDArray[np.generic]
Answers = Mapping[str, Rows]

PASSING = frozenset(
    {
        *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Cast", "Slice"),
        *("Concat", "Gather", "Split", "Expand", "Clip"),
    }
)
"""Operators that only pass on their inputs, or some of them."""

MAKING = frozenset({"Softmax", "Sigmoid", "HardSigmoid"})
SUM = 1e-3
"""How far the sum of one cell's probabilities may be from 1."""

ROUNDING = 1e-6
APART = 1e-3
"""Cells whose probabilities all differ by less are not distinguished."""


def check_made_once(model: bytes, network: NetworkRecipe) -> None:
    """Examine in a network's file what computes the inputs of softmax or sigmoid.

    Raises ConfigError when that is a softmax or a sigmoid itself.
    """
    graph = onnx.load_model_from_string(model).graph
    made_by = {name: node for node in graph.node for name in node.output}
    stored = {weight.name for weight in graph.initializer}
    for output in _made(network):
        kinds = _sources(output.name, made_by, stored)
        if kinds and kinds <= MAKING:
            raise _twice(network, output, f"ends in {' and '.join(sorted(kinds)).lower()}")


def _sources(name: str, made_by: Mapping[str, onnx.NodeProto], stored: set[str]) -> set[str]:
    """Return the operators that computed the values of a tensor."""
    node = made_by.get(name)
    if node is None:
        return set() if name in stored else {"input"}
    if node.op_type not in PASSING:
        return {node.op_type}
    given = node.input if node.op_type == "Concat" else node.input[:1]
    return {kind for one in given for kind in _sources(one, made_by, stored)}


def check_answers(network: NetworkRecipe, manifest: Manifest, answers: Answers) -> None:
    """Check a network's answers to the cells of the proof.

    Parameters
    ----------
    answers : output to rows.

    Raises ConfigError when probabilities are made from probabilities, or a role's or the slide's
    answer is not a probability.
    """
    for output in _made(network):
        values = np.asarray(answers[output.name], dtype=np.float64).reshape(-1, len(output.classes))
        sums_to_one = np.abs(values.sum(axis=1) - 1).max(initial=0.0) <= SUM
        shares = bool((values >= -ROUNDING).all()) and sums_to_one
        if len(values) > 1 and len(output.classes) > 1 and shares:
            raise _twice(network, output, "gives shares that make 1 for every cell")
    for name, what in _asked(network.name, manifest):
        values = np.asarray(answers[name], dtype=np.float64) if name in answers else np.zeros(0)
        outside = values[(values < -ROUNDING) | (values > 1 + ROUNDING)]
        if outside.size:
            mend = "write softmax or sigmoid for it in the recipe, where it is a logit"
            which = f"{what}, {network.name}.{name}"
            raise ConfigError(
                "an output named as probability is none", which, f"{outside[0]:.3g}: {mend}"
            )


def indistinct_outputs(network: NetworkRecipe, answers: Answers, distinct: int) -> Iterator[str]:
    """Yield a warning for every output whose probabilities are the same for all cells.

    Parameters
    ----------
    answers : to different cells; only the first `distinct` rows are compared.
    """
    for output in network.outputs:
        if output is None or not output.classes or distinct < 2:
            continue
        columns = np.stack([np.asarray(answers[c])[:distinct] for c in output.classes], axis=1)
        if float(np.ptp(columns, axis=0).max()) < APART:
            raw = float(np.ptp(np.asarray(answers[output.name])[:distinct], axis=0).max())
            yield (
                f"{network.name}: all {distinct} cells of the proof get the same "
                f"{', '.join(output.classes)} within {APART} ({output.name} within {raw:.2g}): "
                "are scale, mean, deviation and colour_order those of the training, and are these "
                "the weights?"
            )


def shares_already(network: NetworkRecipe, answers: Answers) -> Iterator[str]:
    """Yield a warning for every output, input to softmax or sigmoid, that stays within 0 and 1."""
    for output in _made(network):
        values = np.asarray(answers[output.name], dtype=np.float64)
        within = (values >= -ROUNDING).all() and (values <= 1 + ROUNDING).all()
        if within and np.ptp(values) >= APART:
            yield (
                f"{network.name}.{output.name}: all answers to the cells of the proof lie between "
                f"0 and 1 before {output.activation} makes probabilities of them: if they are "
                f"probabilities, write probabilities.{output.name} in place of {output.activation}"
            )


def _made(network: NetworkRecipe) -> Iterator[Output]:
    for output in network.outputs:
        if output is not None and output.activation in ("softmax", "sigmoid"):
            yield output


def _asked(network: str, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield every output of a network that must be a probability, and what requires it."""
    for role in manifest.roles:
        if role.network == network:
            yield role.output, f"role {role.name}"
    if manifest.reducer.head == network:
        for name in manifest.reducer.head_outputs:
            yield name, "head_outputs"


def _twice(network: NetworkRecipe, output: Output, why: str) -> ConfigError:
    names = ", ".join(f'"{name}"' for name in output.classes)
    return ConfigError(
        f"probabilities are passed to {output.activation} again",
        f"{network.name}.{output.name}",
        f"it {why}: write probabilities.{output.name} = [{names}] in place of {output.activation}",
    )
