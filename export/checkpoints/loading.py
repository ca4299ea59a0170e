"""Put a checkpoint's tensors into a module: all of them, or none."""

from __future__ import annotations

import torch
from torch import nn

from edgeapl.errors import BundleError
from edgeapl.export.checkpoints.kinds import some
from edgeapl.export.checkpoints.reading import Checkpoint, Tensors

PREFIXES = ("module.", "model.", "_orig_mod.", "net.")
"""What wrappers put before every key: DataParallel, Lightning, torch.compile and their like."""

COUNTERS = "num_batches_tracked"
"""Counter of batch norms in training; older files lack it, and it changes no answer."""


def load_into(module: nn.Module, checkpoint: Checkpoint, *, role: str) -> tuple[str, ...]:
    """Load every tensor of a checkpoint into the module; give notes of what was done for it.

    Prefixes are removed only when all keys carry them and the module's do not. Everything is
    checked before the first tensor is copied. Raises BundleError with the missing, surplus and
    wrongly shaped keys.
    """
    wanted = module.state_dict()
    given, removed = _without_prefix(checkpoint.tensors, set(wanted))
    missing = [name for name in wanted if name not in given and not name.endswith(COUNTERS)]
    surplus = [name for name in given if name not in wanted and not name.endswith(COUNTERS)]
    shapes = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    types = [
        f"{name} {given[name].dtype} instead of {tensor.dtype}"
        for name, tensor in wanted.items()
        if name in given and given[name].is_floating_point() != tensor.is_floating_point()
    ]
    problems = [
        f"{len(names)} {what}: {some(names)}"
        for names, what in (
            (missing, "missing"),
            (surplus, "surplus"),
            (shapes, "of wrong shape"),
            (types, "of wrong type"),
        )
        if names
    ]
    if problems:
        raise BundleError("checkpoint does not fit the module", role, "; ".join(problems))
    with torch.no_grad():
        for name, tensor in wanted.items():
            if name in given:
                tensor.copy_(given[name])
    return (f"prefix {removed!r} removed",) if removed else ()


def _without_prefix(tensors: Tensors, wanted: set[str]) -> tuple[dict[str, torch.Tensor], str]:
    """Remove common prefixes, one after another, until the names are the module's."""
    given = dict(tensors)
    removed = ""
    while given and not wanted.intersection(given):
        prefix = next((p for p in PREFIXES if all(name.startswith(p) for name in given)), None)
        if prefix is None:
            break
        given = {name.removeprefix(prefix): tensor for name, tensor in given.items()}
        removed += prefix
    return given, removed
