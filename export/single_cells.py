"""Whether a network answers every cell independently, and reproducibly."""

from __future__ import annotations

import pickle
import random
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from edgeapl.errors import CodeError
from edgeapl.export.graph import Graph
from edgeapl.export.module_faults import causes
from edgeapl.export.recipes.recipe import Images, NetworkRecipe
from edgeapl.export.user_code import code_error, forward_place

Rows = NDArray[np.generic]
Answers = Mapping[str, Rows]

NOT_ALIKE = "network answers the same cells differently each time"
DRAWN = "network draws at random, if only to use it now and then"
NOT_ALONE = "a cell's answer depends on the cells beside it"

PAIR, AMONG, ALONE = (0, 1), (2, 1, 3, 0), (0,)
"""Rows of `_examples` in three batches: two cells; those in another order, beside a black and a
white image; one of them alone."""


def check_single_cells(graph: Graph, network: NetworkRecipe, tolerance: float) -> None:
    """Run a network on drawn rows before it is exported.

    Parameters
    ----------
    graph : in evaluation mode. tolerance : largest difference, as in `Recipe`.

    Raises CodeError that says which of the module's operations causes it. Networks of one image at
    a time, which only published detectors are, are skipped: they have no cells to mix, and no
    user's code.
    """
    if isinstance(network.input, Images) and not network.input.many:
        return
    examples = _examples(graph, network)
    pair = _run(graph, network, examples[list(PAIR)])
    before = _generators()
    again = _run(graph, network, examples[list(PAIR)])
    if differing(pair, again, tolerance):
        raise _unfit(NOT_ALIKE, graph, network, examples[list(PAIR)], drawn=True)
    if _generators() != before:  # the export would freeze what was drawn once
        raise _unfit(DRAWN, graph, network, examples[list(PAIR)], drawn=True)
    for batch in (ALONE, AMONG):
        answers = _run(graph, network, examples[list(batch)])
        for place, row in enumerate(batch):
            if row in PAIR and differing(_row(pair, row), _row(answers, place), tolerance):
                raise _unfit(NOT_ALONE, graph, network, examples, drawn=False)


def differing(one: Answers, other: Answers, tolerance: float) -> str:
    """Return the first output that differs by more than the tolerance; empty if none does.

    Parameters
    ----------
    one, other : output to rows. tolerance : times the largest absolute value, at least 1.

    NaN in both, the mean of a black image divided by its deviation, counts as equal.
    """
    for name, values in one.items():
        have, want = np.asarray(values, np.float64), np.asarray(other[name], np.float64)
        if have.shape != want.shape or (np.isfinite(have) != np.isfinite(want)).any():
            return name
        finite = np.isfinite(have)
        largest = float(np.abs(have[finite]).max(initial=1.0))
        if float(np.abs(have[finite] - want[finite]).max(initial=0.0)) > tolerance * largest:
            return name
    return ""


def _generators() -> bytes:
    """Return the state of all global random number generators."""
    legacy = np.random.get_state()  # noqa: NPY002 - what a module may draw from
    return pickle.dumps((torch.get_rng_state().numpy(), random.getstate(), legacy))


def _row(answers: Answers, row: int) -> Answers:
    return {name: values[row] for name, values in answers.items()}


def _examples(graph: Graph, network: NetworkRecipe) -> torch.Tensor:
    """Return two rows of noise, one of zeros, one of the largest values; or one image of noise."""
    rng = np.random.default_rng(11)
    shape = tuple(graph.example(4).shape)
    if isinstance(network.input, Images):
        drawn = rng.integers(40, 160, shape).astype(np.uint8)
        ends = 0, 255
    else:
        drawn = rng.uniform(0.2, 0.6, shape).astype(np.float32)
        ends = 0, 1
    drawn[2], drawn[3] = ends
    return torch.from_numpy(drawn)


def _shared(graph: Graph) -> tuple[torch.Tensor, ...]:
    """Return noise for the input that the rows share, if they do; the same at each call."""
    rng = np.random.default_rng(12)
    return tuple(
        torch.from_numpy(rng.uniform(0.2, 0.6, tuple(one.shape)).astype(np.float32))
        for one in graph.shared_example()
    )


def _run(graph: Graph, network: NetworkRecipe, given: torch.Tensor) -> Answers:
    try:
        with torch.no_grad():
            answers = graph(given, *_shared(graph))
    except Exception as error:  # a user's module may raise anything
        raise code_error("network does not run", network.name, error) from error
    return {
        name: np.array(answer.numpy())
        for name, answer in zip(graph.output_names, answers, strict=True)
    }


def _unfit(
    what: str, graph: Graph, network: NetworkRecipe, given: torch.Tensor, *, drawn: bool
) -> CodeError:
    found = causes(graph.inner, lambda: graph(given, *_shared(graph)), len(given))
    cause = next((one for one in found if one.random is drawn), None)
    where = (cause.place if cause else "") or forward_place(graph.inner)
    which = f"{network.name}, {where}" if where else network.name
    if cause is None:
        nothing = "nothing in it may be drawn" if drawn else "no operation may go over dimension 0"
        return CodeError(what, which, f"cause not found: {nothing}")
    return CodeError(what, which, f"{cause.what}: {cause.mend}")
