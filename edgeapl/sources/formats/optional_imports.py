"""Libraries of formats that not everybody has: import one, or say which extra brings it."""

from __future__ import annotations

import importlib
import importlib.util
import struct
from types import ModuleType

from edgeapl.errors import InputError

ALWAYS = ("PNG", "JPEG", "BMP", "TIFF", "WebP", "AVIF", "JPEG XL")
"""Formats that everybody can read."""

BY_MODULE = {
    "pillow_heif": "HEIF",
    "nd2": "Nikon ND2",
    "czifile": "Zeiss CZI",
    "liffile": "Leica LIF",
}
"""What reads a format of the extra, and how the format is called."""

EXTRA = "pip install 'edgeapl[formats]'"

ODD = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError),
    *(struct.error, OSError, SyntaxError, AssertionError, NotImplementedError),
)
"""Whatever a library says of a file that contradicts itself."""


def missing() -> tuple[str, ...]:
    """Return the formats that cannot be read here because their library is not installed."""
    return tuple(
        called for module, called in BY_MODULE.items() if importlib.util.find_spec(module) is None
    )


def library(module: str, name: str) -> ModuleType:
    """Import what reads a format of `BY_MODULE`; raises InputError that names the extra."""
    format_name = BY_MODULE[module]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"not an image that can be read ({format_name})", name, EXTRA) from error
