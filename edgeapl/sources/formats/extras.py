"""Libraries of formats that not everybody has: import one, or say which extra brings it."""

from __future__ import annotations

import importlib
import struct
from types import ModuleType

from edgeapl.errors import InputError

EXTRA = "pip install 'edgeapl[formats]'"

ODD = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError),
    *(struct.error, OSError, SyntaxError, AssertionError, NotImplementedError),
)
"""Whatever a library says of a file that contradicts itself."""


def library(module: str, format_name: str, name: str) -> ModuleType:
    """Import what reads a format; raises InputError that names the extra."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"not an image that can be read ({format_name})", name, EXTRA) from error
