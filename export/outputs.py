"""Turns a network's outputs into the tensors that the recipe names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass

import torch

from edgeapl.export.recipes.recipe import Output


class WrongOutputs(ValueError):  # noqa: N818 - says what the outputs are
    """The network outputs something else than the recipe names."""


def select_outputs(value: object, outputs: Sequence[Output | None]) -> list[torch.Tensor | None]:
    """Return one tensor for each named output, and None for those that are left out.

    Parameters
    ----------
    value : a tensor, or tuples, dictionaries, dataclasses and named tuples of them, also nested.
        Named values are taken by name, all others in order.
    outputs : as named in the recipe.

    Raises WrongOutputs with what the network outputs instead.
    """
    if _named(value) is not None or _has_names(value):
        found: list[object] = [_by_name(value, output) for output in outputs]
    else:
        found = _in_order(value, outputs)
    tensors: list[torch.Tensor | None] = []
    for output, item in zip(outputs, found, strict=True):
        if output is not None and not isinstance(item, torch.Tensor):
            raise WrongOutputs(
                f"it returns a {type(item).__name__} for {output.name!r}, not a tensor"
            )
        tensors.append(item if output is not None and isinstance(item, torch.Tensor) else None)
    return tensors


def _in_order(value: object, outputs: Sequence[Output | None]) -> list[object]:
    given = list(value) if isinstance(value, (tuple, list)) else [value]
    if len(given) != len(outputs):
        given = [item for _, item in _leaves(value, "")]
    if len(given) != len(outputs):
        raise WrongOutputs(f"it returns {len(given)} outputs, {len(outputs)} are named")
    return given


def _by_name(value: object, output: Output | None) -> object:
    if output is None:
        return None
    leaves = _leaves(value, "")
    exact = [item for path, item in leaves if path == output.name]
    last = [item for path, item in leaves if path.rpartition(".")[2] == output.name]
    found = exact or last
    if len(found) != 1:
        names = ", ".join(path for path, _ in leaves)
        many = "several outputs named" if found else "no output"
        raise WrongOutputs(f"it returns {many} {output.name!r}; it returns: {names}")
    return found[0]


def _named(value: object) -> dict[str, object] | None:
    """Return the items of a container with names."""
    if isinstance(value, Mapping):
        return {str(name): item for name, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    return None


def _has_names(value: object) -> bool:
    if isinstance(value, (tuple, list)) and _named(value) is None:
        return any(_has_names(item) for item in value)
    return _named(value) is not None


def _leaves(value: object, path: str) -> list[tuple[str, object]]:
    """Return all leaves of a nested value, with the names that lead to them joined by dots."""
    inside = _named(value)
    if inside is None and isinstance(value, (tuple, list)):
        inside = {str(number): item for number, item in enumerate(value)}
    if inside is None:
        return [(path, value)]
    return [
        leaf
        for name, item in inside.items()
        if item is not None
        for leaf in _leaves(item, f"{path}.{name}" if path else name)
    ]
