"""Find the state_dict in what training code saves around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from edgeapl.errors import BundleError
from edgeapl.export.checkpoints.kinds import SAVE, one_line, some


def unwrap(
    path: Path, loaded: object, key: str | None
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Give the state_dict that a file holds, and what was around it.

    Parameters
    ----------
    loaded : what the file gave. key : which state_dict to take, where there are several.

    Lightning's ``state_dict``, ``model``, ``model_state_dict``, ``net`` and the like are found by
    what they hold, not by name. Raises BundleError when there is none, or when there are several
    (weights and their moving average, say) and no key chooses.
    """
    if not isinstance(loaded, Mapping):
        kind = type(loaded).__name__
        raise BundleError("checkpoint holds no state_dict", path, f"it holds a {kind}: {SAVE}")
    if key is None and _is_state_dict(loaded):
        return dict(loaded), []
    found = _inside(loaded)
    names = some(list(found))
    if key is not None:
        if key not in found:
            mend = f"it has: {names}" if found else "leave out '#' and what follows"
            raise BundleError("checkpoint has no such state_dict", f"{path}#{key}", mend)
        return found[key], [f"taken from {key!r}"]
    if not found:
        raise BundleError("checkpoint holds no state_dict", path, SAVE)
    if len(found) > 1:
        mend = f"choose one: {some([f'{path.name}#{name}' for name in found])}"
        raise BundleError("checkpoint holds several state_dicts", path, mend)
    ((name, tensors),) = found.items()
    return tensors, [f"taken from {one_line(name)!r}"]


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) for name in value)
        and all(isinstance(tensor, torch.Tensor) for tensor in value.values())
    )


def _inside(loaded: Mapping[object, object]) -> dict[str, dict[str, torch.Tensor]]:
    """Give the state_dicts one level down; an optimizer's has numbers for names and is none."""
    return {
        str(name): dict(value)  # type: ignore[call-overload]
        for name, value in loaded.items()
        if _is_state_dict(value)
    }
