"""The module that an exported network is compared with: built and loaded independently."""

from __future__ import annotations

import io
import weakref
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load as load_safetensors
from torch import nn
from torch.nn.parameter import is_lazy

from edgeapl.bundle.digest import sha256
from edgeapl.errors import BundleError, ConfigError
from edgeapl.export.checkpoints import Checkpoint, Loaded, read_checkpoint
from edgeapl.export.checkpoints.file_formats import AGAIN, Kind
from edgeapl.export.checkpoints.load_check import strict_load
from edgeapl.export.checkpoints.loader import state_for
from edgeapl.export.checkpoints.reader import file_and_key
from edgeapl.export.checkpoints.state import fingerprint, slots
from edgeapl.export.module_factory import build_module
from edgeapl.export.recipes.recipe import NetworkRecipe, Shapes


class ExportedModule:
    """What is kept of the exported module; none of its tensors.

    Parameters
    ----------
    checkpoint : that it was loaded from. shapes : of its tensors. loaded : under which names.
    module : after loading. trust : as in `read_checkpoint`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        shapes: Shapes,
        loaded: Loaded,
        module: nn.Module,
        *,
        trust: bool,
    ) -> None:
        self.digest = checkpoint.digest
        self.kind = checkpoint.kind
        self.place = checkpoint.place
        self.versions = checkpoint.versions
        self.shapes = shapes
        self.names = loaded.names
        self.trust = trust
        self.fingerprint = fingerprint(module)
        held = [slot.tensor for slot in slots(module).values() if slot.parameter]
        self._parameters = [weakref.ref(tensor) for tensor in held]

    def shares(self, module: nn.Module) -> bool:
        """Return whether a module shares memory with the first one's parameters, still alive."""
        alive = [tensor for tensor in (ref() for ref in self._parameters) if tensor is not None]
        memory = {_memory(tensor) for tensor in alive} - {0}
        return any(_memory(slot.tensor) in memory for slot in slots(module).values())


def _memory(tensor: torch.Tensor) -> int:
    return 0 if is_lazy(tensor) else int(tensor.untyped_storage().data_ptr())


def reference_module(network: NetworkRecipe, path: Path, first: ExportedModule) -> nn.Module:
    """Build and load a network's module again, directly from the file.

    Parameters
    ----------
    path : the checkpoint; it must not have changed. first : the exported module.

    Raises BundleError when this module does not hold the same numbers, ConfigError when the
    factory returns the same module again.
    """
    network = network.for_kind(first.kind)
    given = _straight(path, first, network)
    if network.renamed is not None:
        tensors = {name: v for name, v in given.items() if isinstance(v, torch.Tensor)}
        given = {**given, **network.renamed(tensors)}
    module, _ = build_module(network, first.shapes)
    if first.shares(module):
        mend = "let it make a new one at each call: the proof compares two"
        raise ConfigError("factory gives the same module twice", network.name, mend)
    role = network.weights
    strict_load(module, state_for(module, first.names, given, first.versions), role)
    if fingerprint(module) != first.fingerprint:
        mend = "its factory makes numbers at random that are not in the file: leave them out"
        raise BundleError("module is another one when it is built and loaded again", role, mend)
    return module


def _straight(path: Path, first: ExportedModule, network: NetworkRecipe) -> dict[str, object]:
    """Read the file's values without the conversions of `read_checkpoint`."""
    file, _ = file_and_key(path)
    data = file.read_bytes()
    if sha256(data) != first.digest:
        raise BundleError("checkpoint changed while it was exported", file, AGAIN)
    if first.kind == Kind.SAFETENSORS.value:
        return dict(load_safetensors(data))
    if first.kind != Kind.STATE_DICT.value:
        checkpoint = read_checkpoint(
            path,
            key=network.choice.key,
            trust_archive=first.trust,
            keras=network.keras_reader,
        )
        return {**checkpoint.tensors, **checkpoint.extra}
    loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return {str(name): value for name, value in _at(loaded, first.place).items()}


def _at(loaded: object, place: tuple[str, ...]) -> Mapping[object, object]:
    for key in place:
        assert isinstance(loaded, Mapping)
        loaded = next(value for name, value in loaded.items() if str(name) == key)
    assert isinstance(loaded, Mapping)
    return loaded
