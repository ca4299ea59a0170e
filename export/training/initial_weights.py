"""Weights to start from: what of a file fits a network, by name and shape."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from edgeapl.errors import BundleError
from edgeapl.export.checkpoints import read_checkpoint


def start_from(module: nn.Module, path: Path) -> int:
    """Put the tensors of a file that fit into a module; returns how many parameters they fill.

    A tensor fits when its name, or the end of it after a dot, and its shape are the module's: a
    classifier of other classes stays as it was drawn. So do weights of a trunk that is a part of
    the module, as ``conv1.weight`` for ``features.conv1.weight``. Raises BundleError when nothing
    fits, or the file cannot be read.
    """
    tensors = read_checkpoint(path).tensors
    filled = 0
    with torch.no_grad():
        for name, own in module.state_dict(keep_vars=True).items():
            given = _fitting(name, own, tensors)
            if given is not None:
                own.copy_(given)
                filled += own.numel() if isinstance(own, nn.Parameter) else 0
    if not filled:
        mend = "give weights of this network, or of its trunk"
        raise BundleError("no weight of the file fits the network", path, mend)
    return filled


def _fitting(name: str, own: torch.Tensor, tensors: object) -> torch.Tensor | None:
    assert isinstance(tensors, dict)
    longer = (each for each in tensors if each.endswith(f".{name}"))
    names = [name, *longer, name.partition(".")[2]]
    for each in names:
        if each in tensors and tensors[each].shape == own.shape:
            found: torch.Tensor = tensors[each]
            return found
    return None
