"""Loads a checkpoint's tensors with the module's own loading: all of them, or none."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from edgeapl.errors import BundleError, CodeError
from edgeapl.export.checkpoints.file_formats import some
from edgeapl.export.checkpoints.key_names import WRAPPERS
from edgeapl.export.checkpoints.load_check import check_taken, strict_load
from edgeapl.export.checkpoints.reader import Checkpoint
from edgeapl.export.checkpoints.state import COUNTED, Slot, extra_states, slots
from edgeapl.export.checkpoints.tensor_match import (
    Choice,
    Fit,
    choose,
    fits,
    ignored,
    left_out,
    problems,
)

IGNORE = 'leave them out with ignore = ["NAME", ...] under [weights.{role}] in the recipe file'


@dataclass(frozen=True, slots=True)
class Loaded:
    """How a file's tensors were loaded into a module.

    names : the module's name to the name in the file. notes : what was done to load it.
    """

    names: Mapping[str, str]
    notes: tuple[str, ...]


def load_into(
    module: nn.Module,
    checkpoint: Checkpoint,
    *,
    role: str,
    choice: Choice | None = None,
    fresh: Callable[[], nn.Module] | None = None,
) -> Loaded:
    """Load a checkpoint with the module's own ``load_state_dict(strict=True)``.

    Parameters
    ----------
    role : whose weights they are. choice : what the recipe says about the file.
    fresh : returns another such module to try things on; a copy of `module` by default.

    Names are the module's once a prefix is removed; hooks of the module run. Afterwards the module
    holds the file's numbers, or was changed by them: that is checked, not assumed.
    Raises BundleError with the missing, surplus and wrongly shaped keys, and when several parts of
    the file fit; nothing is loaded then.
    """
    choice = choice or Choice()
    if choice.prefix:
        choice = replace(choice, prefix=choice.prefix.removesuffix(".") + ".")
    another = fresh or (lambda: copy.deepcopy(module))
    every: dict[str, object] = {**checkpoint.tensors, **checkpoint.extra}
    unwanted = [n for n in every if ignored(n, choice.prefix or "", choice.ignore)]
    given = {name: value for name, value in every.items() if name not in unwanted}
    wanted = _wanted(module)
    found = fits(wanted, given, choice.prefix)
    fit = choose(found, given, role)
    serious = left_out(fit, wanted, choice.ignore) if fit else []
    if fit is None or serious:
        # The names differ from the module's; its own loading may know them.
        prefixes = [""] if choice.prefix is None else []
        prefixes += [fit.prefix for fit in found[:8]]
        names = _by_hooks(another, checkpoint, given, prefixes)
        if names is None:
            raise _misfit(found, fit, serious, role)
        outside = tuple(name for name in given if name not in names.values())
        fit = Fit("", names, (), (), (), outside)
    state = state_for(module, fit.names, given, checkpoint.versions)
    strict_load(module, state, role)
    notes = check_taken(module, state, another, role)
    if fit.prefix:
        notes.insert(0, f"prefix {fit.prefix!r} removed")
    dropped = [*fit.surplus, *fit.outside, *unwanted]
    dropped = [name for name in dropped if not name.endswith("num_batches_tracked")]
    if dropped:
        notes.append(f"left out: {some(dropped)}")
    return Loaded(dict(fit.names), tuple(notes))


def _wanted(module: nn.Module) -> dict[str, Slot | None]:
    """Return the names that a file of this module has."""
    wanted: dict[str, Slot | None] = {
        name: slot for name, slot in slots(module).items() if slot.persistent
    }
    wanted.update(dict.fromkeys(extra_states(module)))
    return wanted


def state_for(
    module: nn.Module,
    names: Mapping[str, str],
    given: Mapping[str, object],
    versions: Mapping[str, int],
) -> OrderedDict[str, Any]:
    """Return the argument of ``load_state_dict``: the file's values by the module's names.

    Counters missing in the file are the module's own. `versions` are those of the modules in the
    file (``_metadata`` of torch), by which hooks recognise old files.
    """
    state: OrderedDict[str, Any] = OrderedDict(
        (name, given[source]) for name, source in names.items()
    )
    for name, slot in slots(module).items():
        if slot.persistent and name not in state and name.endswith(COUNTED):
            state[name] = slot.tensor
    metadata: OrderedDict[str, dict[str, int]] = OrderedDict()
    for name, source in names.items():
        inner, outer = name.split(".")[:-1], source.split(".")[:-1]
        while ".".join(inner) not in metadata:
            if ".".join(outer) in versions:
                metadata[".".join(inner)] = {"version": versions[".".join(outer)]}
            if not inner or not outer:
                break
            while len(outer) > 1 and outer[-1] in WRAPPERS and outer[-1] != inner[-1]:
                outer.pop()
            inner.pop()
            outer.pop()
    state._metadata = metadata  # type: ignore[attr-defined]
    return state


def _by_hooks(
    another: Callable[[], nn.Module],
    checkpoint: Checkpoint,
    given: Mapping[str, object],
    prefixes: list[str],
) -> dict[str, str] | None:
    """Return the names that the module's own loading accepts although they are not its own."""
    for prefix in dict.fromkeys(prefixes):
        names = {n.removeprefix(prefix): n for n in given if n.startswith(prefix)}
        if not names:
            continue
        trial = another()
        try:
            strict_load(trial, state_for(trial, names, given, checkpoint.versions), "")
        except (BundleError, CodeError):
            continue
        return names
    return None


def _misfit(found: list[Fit], fit: Fit | None, serious: list[str], role: str) -> BundleError:
    if fit is not None:
        what = f"{len(serious)} surplus: {some(serious)}"
        mend = f"{what}; if the answer does not need them, {IGNORE.format(role=role)}"
        return BundleError("checkpoint holds more than the module", role, mend)
    return BundleError("checkpoint does not fit the module", role, problems(found[0]))
