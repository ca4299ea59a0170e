"""Libraries that not every installation has, and how to get them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

from edgeapl.errors import EdgeAplError, EngineError, UsageError


def import_or(module: str, refusal: Callable[[str], EdgeAplError]) -> ModuleType:
    """Import a module; without it, or what it needs, raise the refusal for the missing name."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise refusal(error.name or module) from error


def require_library(module: str, what: str, mend: str) -> ModuleType:
    """Import a library that `what` needs. Raises UsageError with `mend` when it is missing."""
    return import_or(module, lambda name: UsageError(f"{what} needs another package", name, mend))


def require_extra(command: str, module: str, extra: str) -> ModuleType:
    """Import our own module that needs an extra. Raises EngineError when that is missing."""
    mend = f"pip install 'edgeapl[{extra}]'"
    return import_or(module, lambda name: EngineError(f"{command} needs more packages", name, mend))
