"""Finds the user's code that builds a module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from edgeapl.bundle.digest import sha256
from edgeapl.errors import ConfigError
from edgeapl.export.user_code import code_error

HOW = "write package.module:function or file.py:function"


def load_factory(factory: str, folder: Path) -> Callable[[], nn.Module]:
    """Return the function that ``package.module:function`` or ``file.py:function`` names.

    Parameters
    ----------
    factory : as in the recipe. folder : where a Python file is searched for.

    The named code is run. Raises ConfigError when there is no such module or function, or it does
    not return a torch module, CodeError when that code fails.
    """
    place, _, name = factory.rpartition(":")
    if not place or not name:
        raise ConfigError("factory name is malformed", factory, HOW)
    try:
        with _beside(folder):
            module = _from_file(folder / place) if place.endswith(".py") else _from_package(place)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        raise code_error("code cannot be imported", factory, error) from error
    made = getattr(module, name, None)
    if not callable(made):
        raise ConfigError("factory not found", factory, f"{place} has no function {name!r}")

    def build() -> nn.Module:
        try:
            with _beside(folder):
                built = made()
        except (Exception, SystemExit) as error:  # the user's own code may raise anything
            raise code_error("factory failed", factory, error) from error
        if not isinstance(built, nn.Module):
            kind = type(built).__name__
            raise ConfigError("factory returns no torch module", factory, f"it returns a {kind}")
        return built

    return build


def _from_package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # of a package that the user's code needs
        raise ConfigError("factory not found", name, f"no module named {error.name!r}") from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError("factory not found", path, "there is no such file")
    name = f"edgeapl_recipe_{sha256(str(path.resolve()).encode())[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Let the user's code import files beside it, as if it were run there."""
    place = str(folder.resolve())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        if place in sys.path:
            sys.path.remove(place)


def part_of(module: nn.Module, path: str | None) -> nn.Module:
    """Return an attribute or method of a module, e.g. ``slide_head`` or ``encode``, as a module.

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
        self.called = method

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.called(x)
