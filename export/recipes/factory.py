"""Find the user's code that builds a module."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from edgeapl.bundle.digest import sha256
from edgeapl.errors import ConfigError

HOW = "write package.module:function or file.py:function"


def load_factory(factory: str, folder: Path) -> Callable[[], nn.Module]:
    """Give the function that ``package.module:function`` or ``file.py:function`` names.

    Parameters
    ----------
    factory : as in the recipe. folder : where a Python file is looked for.

    The code that it names is run. Raises ConfigError when there is no such module or function, or
    what it gives is no torch module.
    """
    place, _, name = factory.rpartition(":")
    if not place or not name:
        raise ConfigError("factory is not named rightly", factory, HOW)
    module = _from_file(folder / place) if place.endswith(".py") else _from_package(place)
    made = getattr(module, name, None)
    if not callable(made):
        raise ConfigError("factory not found", factory, f"{place} has no function {name!r}")

    def build() -> nn.Module:
        try:
            built = made()
        except Exception as error:  # the user's own code may raise anything
            why = f"{type(error).__name__}: {error}"
            raise ConfigError("factory failed", factory, why) from error
        if not isinstance(built, nn.Module):
            kind = type(built).__name__
            raise ConfigError("factory gives no torch module", factory, f"it gives a {kind}")
        return built

    return build


def _from_package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError("factory not found", name, f"no module named {error.name!r}") from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError("factory not found", path, "there is no such file")
    name = f"edgeapl_recipe_{sha256(str(path.resolve()).encode())[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def part_of(module: nn.Module, path: str | None) -> nn.Module:
    """Give an attribute or method of a module, e.g. ``slide_head`` or ``encode``, as a module.

    Raises ConfigError when there is none that can be called.
    """
    if path is None:
        return module
    target: object = module
    for name in path.split("."):
        target = getattr(target, name, None)
    if not callable(target):
        kind = type(module).__name__
        raise ConfigError("module has no such part", path, f"{kind} has nothing to call there")
    return target if isinstance(target, nn.Module) else _Method(module, target)


class _Method(nn.Module):
    """A method of a module, with the module's weights."""

    def __init__(self, module: nn.Module, method: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.module = module
        self._method = method

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._method(x)
