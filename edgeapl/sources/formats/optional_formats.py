"""Libraries of optional formats: import one, or say which extra installs it."""

from __future__ import annotations

import importlib.util
import struct
from types import ModuleType

from edgeapl.errors import InputError
from edgeapl.optional_imports import import_or

ALWAYS = ("PNG", "JPEG", "BMP", "TIFF", "WebP", "AVIF", "JPEG XL")
"""Formats that every installation reads."""

BY_MODULE = {
    "pillow_heif": "HEIF",
    "nd2": "Nikon ND2",
    "czifile": "Zeiss CZI",
    "liffile": "Leica LIF",
}
"""Library of each optional format, and the format's name."""

EXTRA = "pip install 'edgeapl[formats]'"

INCONSISTENT_FILE_ERRORS = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError),
    *(struct.error, OSError, SyntaxError, AssertionError, NotImplementedError),
)
"""What libraries raise for an inconsistent file."""


def missing() -> tuple[str, ...]:
    """Return the formats whose library is not installed here."""
    return tuple(
        called for module, called in BY_MODULE.items() if importlib.util.find_spec(module) is None
    )


def library(module: str, name: str) -> ModuleType:
    """Import the library of a format in `BY_MODULE`. Raises InputError that names the extra."""
    what = f"not an image that can be read ({BY_MODULE[module]})"
    return import_or(module, lambda _: InputError(what, name, EXTRA))
