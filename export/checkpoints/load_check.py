"""Whether a module, after loading, holds what the file contains."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from edgeapl.errors import BundleError
from edgeapl.export.checkpoints.file_formats import one_line, some
from edgeapl.export.checkpoints.state import COUNTED, Slot, extra_states, same, slots
from edgeapl.export.user_code import code_error, place

RIGHT = "load_state_dict must put every tensor into the module: mend it, or the factory"


def strict_load(module: nn.Module, state: OrderedDict[str, Any], role: str) -> None:
    """Load. Raises BundleError when the module refuses, CodeError when its own code fails."""
    given = state.copy()  # hooks remove and insert names
    given._metadata = getattr(state, "_metadata", None)  # type: ignore[attr-defined]
    try:
        module.load_state_dict(given, strict=True)
    except Exception as error:  # a user's module may raise anything
        what = "module refuses the checkpoint"
        if "loading state_dict" not in str(error) and place(error):
            raise code_error(what, role, error) from error
        why = " ".join(str(error).split()) or type(error).__name__
        raise BundleError(what, role, one_line(why, 400)) from error


def check_taken(
    module: nn.Module,
    state: OrderedDict[str, Any],
    another: Callable[[], nn.Module],
    role: str,
) -> list[str]:
    """Compare a module with what it was loaded from, and return notes.

    Parameters
    ----------
    module : after loading. state : names and values that it was given.
    another : returns such a module, to see the effect of other numbers on it.

    A tensor of the file must be in the module under its name or, if the module renames or computes,
    other numbers in the file must lead to other numbers in the module. A parameter must come from
    the file in one of these ways, unless all its numbers are equal, as in new layers.
    Raises BundleError when the module keeps numbers of its own, or holds integers as weights.
    """
    held = slots(module)
    extra = extra_states(module)
    _check_kinds(held, state, role)
    moved: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        if name in extra:
            if not same(value, extra[name]):
                raise BundleError("module does not keep its extra state", f"{role} {name}", RIGHT)
        elif isinstance(value, torch.Tensor) and not name.endswith(COUNTED):
            slot = held.get(name)
            if slot is None or not _holds(slot, value):
                moved[name] = value
    filled = {name for name in state if name not in moved}
    if moved:
        changed = _changed(state, moved, another, role)
        kept = [name for name in moved if name in held and name not in changed]
        if kept:
            raise _unfilled(kept, role)
        filled |= changed
    own = [
        name
        for name, slot in held.items()
        if slot.parameter and name not in filled and not name.endswith(COUNTED)
    ]
    random = [name for name in own if not _alike(held[name].tensor)]
    if random:
        raise _unfilled(random, role)
    notes = [f"not in the file, as the factory makes them: {some(own)}"] if own else []
    if moved:
        notes.append(f"renamed or computed by the module: {some(list(moved))}")
    return notes


def _check_kinds(held: Mapping[str, Slot], state: Mapping[str, Any], role: str) -> None:
    """Refuse integers that were copied as fractions: torch does that silently.

    Eight-bit weights are meaningful only together with their scale. A module that computes with
    both holds other numbers than the file, and is checked later.
    """
    bare = [
        name
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
        and name in held
        and held[name].tensor.is_floating_point()
        and not value.is_floating_point()
        and _holds(held[name], value)
    ]
    if bare:
        mend = f"{some(bare)}: give the file of the network before it was made of integers"
        raise BundleError("checkpoint holds integers where weights must be", role, mend)


def _holds(slot: Slot, value: torch.Tensor) -> bool:
    return slot.shape is not None and same(value, slot.tensor.detach())


def _changed(
    state: OrderedDict[str, Any],
    moved: Mapping[str, torch.Tensor],
    another: Callable[[], nn.Module],
    role: str,
) -> set[str]:
    """Return the names in a module that change when the file's `moved` numbers do.

    The same module is loaded twice: what it keeps of its own stays, even if made at random.
    """
    other: OrderedDict[str, Any] = OrderedDict(state)
    for name, value in moved.items():
        if value.is_floating_point():
            other[name] = value * 1.25 + 0.5
    trial = another()
    strict_load(trial, state, role)
    before = {name: slot.tensor.detach().clone() for name, slot in slots(trial).items()}
    other._metadata = getattr(state, "_metadata", None)  # type: ignore[attr-defined]
    strict_load(trial, other, role)
    after = slots(trial)
    return {name for name, old in before.items() if not same(old, after[name].tensor.detach())}


def _alike(tensor: torch.Tensor) -> bool:
    """Return whether all numbers are equal; for a single one, whether layers start with it."""
    if tensor.numel() == 1 and tensor.ndim:
        return tensor.item() in (0, 1)
    return tensor.numel() == 0 or bool((tensor == tensor.reshape(-1)[0]).all())


def _unfilled(names: list[str], role: str) -> BundleError:
    what = f"{some(names)} of {role}"
    return BundleError("module keeps numbers that are not the file's", what, RIGHT)
