"""Libraries that not every installation has, and how to get them."""

from __future__ import annotations

import importlib
from types import ModuleType

from edgeapl.errors import EngineError, UsageError


def needed(module: str, what: str, mend: str) -> ModuleType:
    """Import a library that `what` needs. Raises UsageError with `mend` when it is not there."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(f"{what} needs another package", error.name or module, mend) from error


def needed_for(command: str, module: str, extra: str) -> ModuleType:
    """Import our own module that needs an extra. Raises EngineError when that is not there."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        mend = f"pip install 'edgeapl[{extra}]'"
        raise EngineError(f"{command} needs more packages", error.name or "", mend) from error
