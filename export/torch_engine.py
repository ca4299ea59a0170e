"""A torch module behind the same protocol as the engines, for comparison."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from edgeapl.bundle.digest import sha256
from edgeapl.errors import EngineError
from edgeapl.export.graph import Graph
from edgeapl.export.recipes.recipe import Images, NetworkRecipe
from edgeapl.protocols import Arrays


class TorchEngine:
    """Runs a graph in torch, in evaluation mode and without gradients."""

    def __init__(self, recipe: NetworkRecipe, graph: Graph) -> None:
        self._recipe = recipe
        self._graph: Graph | None = graph
        self._outputs = graph.output_names

    @property
    def runtime(self) -> str:
        """Library and version."""
        return f"torch {torch.__version__}"

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the network's name: there is no file behind it."""
        return sha256(self._recipe.name.encode())

    @property
    def inputs(self) -> Mapping[str, tuple[str, tuple[int | None, ...]]]:
        """Input name to (numpy dtype name, shape)."""
        name, given = self._recipe.input_name, self._recipe.input
        described: dict[str, tuple[str, tuple[int | None, ...]]] = {}
        if isinstance(given, Images):
            rows = None if given.many else 1
            described[name] = ("uint8", (rows, given.height, given.width, 3))
        else:
            described[name] = ("float32", (None, *given.shape))
        shared = self._recipe.shared
        if shared is not None:
            described[shared.name] = ("float32", (1, *shared.shape))
        return described

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output names."""
        return self._outputs

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run once; see `edgeapl.protocols.Engine.run`."""
        if self._graph is None:
            raise EngineError("network was closed", self._recipe.name, "open it again")
        given = [torch.from_numpy(np.array(inputs[name])) for name in self.inputs]
        with torch.inference_mode():
            answers = self._graph(*given)
        arrays = [np.asarray(answer.numpy()) for answer in answers]
        return dict(zip(self._outputs, arrays, strict=True))

    def close(self) -> None:
        """Release the module."""
        self._graph = None
