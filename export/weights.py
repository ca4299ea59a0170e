"""Where modules get their weights: from checkpoints, or at random for latency studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from edgeapl.bundle.digest import sha256
from edgeapl.errors import UsageError
from edgeapl.export.architectures.initialise import initialise
from edgeapl.export.checkpoints import load_into, read_checkpoint
from edgeapl.export.graph import Graph
from edgeapl.export.module_factory import build_module
from edgeapl.export.recipes.recipe import NetworkRecipe, Recipe
from edgeapl.export.reference import ExportedModule, reference_module


class Weights:
    """Builds modules with their weights, one at a time.

    Parameters
    ----------
    recipe : names the roles. files : role to checkpoint; must name every role, or none.
    seed : fills all modules at random instead; None for checkpoints.
    trust_archive : allow ``.pt2`` files, which can run code when they are loaded.

    Raises UsageError when files and roles do not fit.
    """

    def __init__(
        self,
        recipe: Recipe,
        files: Mapping[str, Path],
        *,
        seed: int | None = None,
        trust_archive: bool = False,
    ) -> None:
        _check_roles(recipe.weight_roles, files, seed)
        self.recipe = recipe
        self._files = dict(files)
        self._seed = seed
        self._trust = trust_archive
        self._first: dict[str, ExportedModule] = {}
        self._used: dict[str, dict[str, Any]] = {}

    @property
    def trained(self) -> bool:
        """Whether the weights come from checkpoints."""
        return self._seed is None

    @property
    def used(self) -> dict[str, dict[str, Any]]:
        """Role to what is known about its weights, for the export report."""
        return dict(sorted(self._used.items()))

    def graph(self, network: NetworkRecipe, *, explain: bool) -> Graph:
        """Build a network's module, fill it, and wrap it as it will stand in the file.

        Raises BundleError when the checkpoint is refused or does not fit the module.
        """
        module = self._loaded(network) if self._seed is None else self._random(network)
        return _graph(module, network, explain=explain)

    def reference(self, network: NetworkRecipe, *, explain: bool) -> Graph:
        """Build what the exported network is compared with, on a way of its own.

        The factory is called again and its module loads the file again, which is read again; of
        the first way only the names are taken. Raises BundleError when both modules do not hold
        the same numbers, or share them.
        """
        if self._seed is not None:
            return self.graph(network, explain=explain)
        if network.name not in self._first:
            self._loaded(network)
        module = reference_module(network, self._files[network.weights], self._first[network.name])
        return _graph(module, network, explain=explain)

    def _random(self, network: NetworkRecipe) -> nn.Module:
        module, _ = build_module(network, {})
        # A seed of its own for each role, or networks of one kind would be the same network.
        initialise(module, int(sha256(f"{self._seed} {network.weights}".encode())[:8], 16))
        self._used[network.weights] = {"random_seed": self._seed}
        return module

    def _loaded(self, network: NetworkRecipe) -> nn.Module:
        role = network.weights
        choice = network.choice
        file = self._files[role]
        checkpoint = read_checkpoint(
            file, key=choice.key, trust_archive=self._trust, keras=network.keras_reader
        )
        network = network.for_kind(checkpoint.kind)
        if network.renamed is not None:
            checkpoint = replace(checkpoint, tensors=network.renamed(checkpoint.tensors))
        shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
        module, made = build_module(network, shapes)
        loaded = load_into(
            module,
            checkpoint,
            role=role,
            choice=choice,
            fresh=lambda: build_module(network, shapes)[0],
        )
        first = ExportedModule(checkpoint, shapes, loaded, module, trust=self._trust)
        self._first[network.name] = first
        self._used[role] = {
            "file": file.name,
            "sha256": checkpoint.digest,
            "kind": checkpoint.kind,
            "notes": [*checkpoint.notes, *made, *loaded.notes],
            "parameters": sum(p.numel() for p in nn.Module.parameters(module)),
            "state_sha256": first.fingerprint,
        }
        return module


def _graph(module: nn.Module, network: NetworkRecipe, *, explain: bool) -> Graph:
    graph = Graph(module.eval(), network, explain=explain)
    graph.try_out(network.name)
    return graph


def _check_roles(roles: Sequence[str], files: Mapping[str, Path], seed: int | None) -> None:
    if seed is not None:
        if files:
            raise UsageError(
                "weights are given twice", "--weights and --random-weights", "use one of them"
            )
        return
    missing = [role for role in roles if role not in files]
    surplus = [role for role in files if role not in roles]
    if surplus:
        raise UsageError(
            "recipe has no such role", ", ".join(surplus), f"its roles are: {', '.join(roles)}"
        )
    if missing:
        each = " ".join(f"--weights {role}=FILE" for role in missing)
        raise UsageError("weights are missing", ", ".join(missing), f"add {each}")
