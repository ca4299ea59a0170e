"""Builds a module with its factory, and converts it to float32 on the CPU for the export."""

from __future__ import annotations

import torch
from torch import nn

from edgeapl.errors import ConfigError
from edgeapl.export.checkpoints.state import parts, slots
from edgeapl.export.recipes.recipe import NetworkRecipe, Shapes


def build_module(network: NetworkRecipe, shapes: Shapes) -> tuple[nn.Module, tuple[str, ...]]:
    """Build a network's module, and return notes on what was changed about it.

    Parameters
    ----------
    shapes : of the checkpoint's tensors.

    Half and double precision become float32, and devices the CPU, before weights are loaded, so
    that none of the file's digits are lost; compiled or parallel modules are unwrapped. Raises
    ConfigError for modules that cannot be exported at all.
    """
    module = _unwrapped(network.build(shapes))
    tensors = [slot.tensor for slot in slots(module).values()]
    if any(tensor.is_meta for tensor in tensors):
        mend = "let the factory make it on the processor"
        raise ConfigError("factory gives a module without memory (meta)", network.name, mend)
    notes = []
    if any(tensor.device.type != "cpu" for tensor in tensors):
        module.cpu()
        notes.append("moved from its device to the processor")
    others = {t.dtype for t in tensors if t.is_floating_point()} - {torch.float32}
    if others:
        module.float()
        notes += [f"parameters in {kind} made float32" for kind in sorted(map(str, others))]
    return module, tuple(notes)


def _unwrapped(module: nn.Module) -> nn.Module:
    if isinstance(module, torch.jit.ScriptModule):
        kind = type(module).__name__
        mend = "let the factory make the torch module and give this file with --weights"
        raise ConfigError("factory gives a compiled program", kind, mend)
    module = _inner(module)
    for _, part in list(parts(module)):
        for name, child in part._modules.items():
            if child is not None:
                part._modules[name] = _inner(child)
    return module


def _inner(module: nn.Module) -> nn.Module:
    """Return the module that torch.compile or DataParallel wraps."""
    while True:
        name = "module" if isinstance(module, nn.DataParallel) else "_orig_mod"
        inner = module._modules.get(name)
        if inner is None:
            return module
        module = inner
