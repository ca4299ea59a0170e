"""The `?name=value&...` part of a camera's address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, unquote

from edgeapl.errors import ConfigError
from edgeapl.wording.printable import printable

Check = Callable[[str], object]
"""Parses the text of an option, or raises ValueError that says what is expected."""


def split_options(
    address: str, scheme: str, checks: Mapping[str, Check]
) -> tuple[str, dict[str, object]]:
    """Split an address into the decoded part after the scheme, and its options.

    Parameters
    ----------
    address : e.g. ``aravis://GV01?packet_size=1400``.
    scheme : e.g. ``aravis://``.
    checks : option names to their parsers.

    Raises ConfigError for an option that is unknown, repeated, or has a wrong value.
    """
    rest, _, query = address[len(scheme) :].partition("?")
    values: dict[str, object] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        which = printable(f"{name}={text}")
        if name not in checks or name in values:
            known = ", ".join(sorted(checks))
            raise ConfigError("camera option is unknown or repeated", which, f"known: {known}")
        try:
            values[name] = checks[name](text)
        except ValueError as error:
            raise ConfigError("camera option is wrong", which, str(error)) from error
    return unquote(rest), values


def yes_or_no(text: str) -> bool:
    """Parse 0 or 1."""
    if text not in ("0", "1"):
        raise ValueError("give 0 or 1")
    return text == "1"


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from low to high."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise ValueError(f"give a whole number from {low} to {high}")
        return int(text)

    return read


def number(low: float, high: float) -> Callable[[str], float]:
    """Return a parser of numbers from low to high."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"give a number from {low:g} to {high:g}")
        return value

    return read


def one_of(*words: str) -> Callable[[str], str]:
    """Return a parser that accepts only these words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"give one of {', '.join(words)}")
        return text

    return read
