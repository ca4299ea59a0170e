"""Finds the state_dict in what training code saves around it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

import torch

from edgeapl.errors import BundleError
from edgeapl.export.checkpoints.file_formats import SAVE, one_line, some
from edgeapl.export.checkpoints.state import EXTRA

MOST_LEVELS = 4
"""Levels of nested dictionaries that are searched."""

OPTIMIZER = re.compile(r"optim(izer)?s?(_|$)")

SMALL = 0.01
"""A state_dict with less than this share of the largest one's numbers does not compete with it:
weights of a loss, counts of a metric."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A state_dict: its tensors, extra states and versions, its keys, and notes."""

    tensors: dict[str, torch.Tensor]
    extra: dict[str, object]
    versions: dict[str, int]
    place: tuple[str, ...]
    notes: tuple[str, ...]


def unwrap(path: Path, loaded: object, key: str | None) -> Found:
    """Return the state_dict in a file, and what was around it.

    Parameters
    ----------
    loaded : contents of the file. key : which state_dict to take if there are several; names of
        nested dictionaries are joined by dots.

    Lightning's ``state_dict``, ``model``, ``model_state_dict``, ``net`` and the like are found by
    their contents, not by name. Raises BundleError when there is none, or when there are several
    (weights and their moving average, for example) and no key selects one.
    """
    if not isinstance(loaded, Mapping):
        kind = type(loaded).__name__
        raise BundleError("checkpoint holds no state_dict", path, f"it holds a {kind}: {SAVE}")
    if key is None and _is_state_dict(loaded):
        return _found(loaded, ())
    inside = _inside(loaded)
    names = some(list(inside))
    if key is not None:
        if key not in inside:
            mend = f"it has: {names}" if inside else "leave out '#' and what follows"
            raise BundleError("checkpoint has no such state_dict", f"{path}#{key}", mend)
        return _found(inside[key].value, inside[key].place, f"taken from {key!r}")
    if not inside or _is_optimizer("", loaded):
        raise BundleError("checkpoint holds no state_dict", path, _nothing(loaded))
    sizes = {name: _size(each.value) for name, each in inside.items()}
    largest = max(sizes, key=lambda name: sizes[name])
    rivals = [name for name in inside if sizes[name] >= SMALL * sizes[largest]]
    if len(rivals) > 1:
        mend = f"choose one: {some([f'{path.name}#{name}' for name in rivals])}"
        raise BundleError("checkpoint holds several state_dicts", path, mend)
    others = [name for name in inside if name != largest]
    notes = [f"taken from {one_line(largest)!r}"]
    notes += [f"left out beside it: {some(others)}"] if others else []
    return _found(inside[largest].value, inside[largest].place, *notes)


def _found(value: Mapping[object, object], place: tuple[str, ...], *notes: str) -> Found:
    tensors: dict[str, torch.Tensor] = {}
    extra: dict[str, object] = {}
    for name, item in value.items():
        if _is_extra(str(name)) or not isinstance(item, torch.Tensor):
            extra[str(name)] = item
        else:
            tensors[str(name)] = item
    return Found(tensors, extra, _versions(value), place, notes)


def _versions(value: object) -> dict[str, int]:
    """Return the versions of modules, which torch writes beside them; a file may hold anything."""
    metadata = getattr(value, "_metadata", None)
    if not isinstance(metadata, Mapping):
        return {}
    return {
        str(name): entry["version"]
        for name, entry in metadata.items()
        if isinstance(entry, Mapping) and type(entry.get("version")) is int
    }


def _is_extra(name: str) -> bool:
    return name.rpartition(".")[2] == EXTRA


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and all(isinstance(name, str) for name in value)
        and all(isinstance(v, torch.Tensor) or _is_extra(n) for n, v in value.items())
        and any(isinstance(tensor, torch.Tensor) for tensor in value.values())
    )


def _size(value: Mapping[object, object]) -> int:
    return sum(item.numel() for item in value.values() if isinstance(item, torch.Tensor))


@dataclass(frozen=True, slots=True, eq=False)
class _Inside:
    place: tuple[str, ...]
    value: Mapping[object, object]


def _inside(loaded: Mapping[object, object]) -> dict[str, _Inside]:
    """Return the state_dicts of the outermost level that has any.

    An optimizer's does not count.
    """
    level = [_Inside((), loaded)]
    for _ in range(MOST_LEVELS):
        level = [
            _Inside((*outer.place, str(name)), value)
            for outer in level
            for name, value in outer.value.items()
            if isinstance(value, Mapping) and not _is_optimizer(str(name), value)
        ]
        found = {".".join(each.place): each for each in level if _is_state_dict(each.value)}
        if found:
            return found
    return {}


def _is_optimizer(name: str, value: Mapping[object, object]) -> bool:
    """Return whether this is what torch's optimizers save, by name or contents."""
    return OPTIMIZER.match(name) is not None or {"state", "param_groups"} <= value.keys()


def _nothing(loaded: Mapping[object, object]) -> str:
    """Return how to fix a file without a state_dict."""
    inside = {str(name): value for name, value in loaded.items() if isinstance(value, Mapping)}
    if _is_optimizer("", loaded) or (inside and all(starmap(_is_optimizer, inside.items()))):
        return "it holds the state of an optimizer: give the file with the network's weights"
    return f"it holds {some([str(name) for name in loaded]) or 'nothing'}: {SAVE}"
