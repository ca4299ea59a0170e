"""Runs of the proof: each network on each of its batches once, on either way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgeapl.export.recipes.recipe import Images, NetworkRecipe, Recipe
from edgeapl.protocols import Arrays, Engine
from edgeapl.types import UInt8

BATCHES = (1, 5, 16)
"""One cell, a medium batch, and what a station runs by default."""

Rows = NDArray[np.generic]


class ShownRows:
    """The first rows that each network is shown on the way of the exported networks."""

    def __init__(self, recipe: Recipe) -> None:
        self._networks = {network.name: network for network in recipe.networks}
        self._rows: dict[str, list[Rows]] = defaultdict(list)
        self._shared: dict[str, dict[str, Rows]] = {}

    def note(self, name: str, given: Arrays) -> None:
        """Keep what is missing of the largest batch, and what its rows share."""
        network = self._networks[name]
        if network.shared is not None and self._rows[name]:
            return  # other rows may share something else
        if network.shared is not None:
            self._shared[name] = {network.shared.name: np.array(given[network.shared.name])}
        missing = max(BATCHES) - sum(len(part) for part in self._rows[name])
        if missing > 0:
            self._rows[name].append(np.array(given[network.input_name][:missing]))

    def has(self, name: str) -> bool:
        """Whether a network was shown anything."""
        return bool(self._rows[name])

    def rows(self, name: str, crops: UInt8) -> Rows | None:
        """Return inputs for a network: its own, or the crops if no cell was routed to it."""
        network = self._networks[name]
        if self._rows[name]:
            return np.concatenate(self._rows[name])
        takes_crops = isinstance(network.input, Images) and network.after is None
        return crops[: max(BATCHES)] if takes_crops else None

    def batches(self, name: str, crops: UInt8) -> dict[int, dict[str, Rows]]:
        """Return the inputs of every batch to compare, by its rows; empty if there are no rows."""
        rows = self.rows(name, crops)
        if rows is None:
            return {}
        # Fewer cells than the batch are repeated: the batch size is what is being tried.
        return {
            size: {
                self._networks[name].input_name: np.ascontiguousarray(
                    np.resize(rows, (size, *rows.shape[1:]))
                ),
                **self._shared.get(name, {}),
            }
            for size in sizes(self._networks[name])
        }


class RecordedRuns:
    """Keeps what networks answered to batches of the sizes that are compared."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, int], tuple[dict[str, Rows], Mapping[str, Rows]]] = {}

    def note(self, name: str, inputs: Arrays, outputs: Arrays) -> None:
        """Keep the first run of each size."""
        size = max(len(values) for values in inputs.values())
        if size in BATCHES and (name, size) not in self._runs:
            # Copies: a runtime's arrays may keep all its memory alive.
            self._runs[name, size] = _copied(inputs), _copied(outputs)

    def find(self, name: str, inputs: Arrays) -> Mapping[str, Rows] | None:
        """Return what a network answered to exactly these inputs, in one run; None if unknown."""
        size = max(len(values) for values in inputs.values())
        before, outputs = self._runs.get((name, size), ({}, {}))
        same = before.keys() == inputs.keys() and all(
            np.array_equal(before[key], inputs[key]) for key in inputs
        )
        return outputs if same else None

    def complete(
        self, name: str, engine: Engine, batches: Mapping[int, Arrays]
    ) -> dict[int, Mapping[str, Rows]]:
        """Return the answers to all batches, and run those that are not known."""
        answers: dict[int, Mapping[str, Rows]] = {}
        for size, inputs in batches.items():
            found = self.find(name, inputs)
            answers[size] = _copied(engine.run(inputs)) if found is None else found
        return answers


def _copied(arrays: Arrays) -> dict[str, Rows]:
    return {name: np.array(values) for name, values in arrays.items()}


def sizes(network: NetworkRecipe) -> tuple[int, ...]:
    """Return the batch sizes that a network is compared in."""
    many = not isinstance(network.input, Images) or network.input.many
    return BATCHES if many else (1,)
