"""What a module really holds, read without calling the module's own code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parameter import is_lazy

EXTRA = "_extra_state"
"""Last part of the key under which a module stores what is not a tensor (get_extra_state)."""

COUNTED = ("num_batches_tracked", "position_ids")
"""Integers that a module creates itself and that files of other versions lack or have: the counter
of batch norms in training, and 0, 1, 2, ... for positions.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A place for one tensor in a module. persistent : whether files include it."""

    tensor: torch.Tensor
    persistent: bool
    parameter: bool

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape; None for a lazy module, whose shape the file decides."""
        return None if is_lazy(self.tensor) else tuple(self.tensor.shape)


def slots(module: nn.Module) -> dict[str, Slot]:
    """Return every parameter and buffer by its dotted name; shared ones under each name.

    A module may override ``state_dict``, ``parameters`` and ``named_buffers``; torch computes with
    what is in the dictionaries read here.
    """
    found: dict[str, Slot] = {}
    for prefix, part in parts(module):
        lasting = set(part._buffers) - set(part._non_persistent_buffers_set)
        for name, tensor in part._parameters.items():
            if tensor is not None:
                found[prefix + name] = Slot(tensor, True, True)
        for name, tensor in part._buffers.items():
            if tensor is not None:
                found[prefix + name] = Slot(tensor, name in lasting, False)
    return found


def parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the module and all its submodules, each with the prefix of its names."""
    waiting = [("", module)]
    while waiting:
        prefix, part = waiting.pop()
        yield prefix, part
        children = [(f"{prefix}{name}.", c) for name, c in part._modules.items() if c is not None]
        waiting += reversed(children)


def extra_states(module: nn.Module) -> dict[str, object]:
    """Return what modules store beside tensors, by its key in a file."""
    return {
        prefix + EXTRA: part.get_extra_state()
        for prefix, part in parts(module)
        if type(part).get_extra_state is not nn.Module.get_extra_state
    }


def fingerprint(module: nn.Module) -> str:
    """Return SHA-256 (hex) over every parameter and buffer except counters."""
    made = hashlib.sha256()
    for name, slot in sorted(slots(module).items()):
        if slot.shape is None or name.endswith(COUNTED):
            continue
        made.update(f"{name} {slot.tensor.dtype} {slot.shape};".encode())
        flat = slot.tensor.detach().cpu().contiguous().reshape(-1)
        made.update(flat.view(torch.uint8).numpy().tobytes())
    return made.hexdigest()


def same(one: object, other: object) -> bool:
    """Return whether two values from a file are equal; tensors element by element."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and bool(torch.equal(one.to(other.dtype), other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other
