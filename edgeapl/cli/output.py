"""Printing that all commands share."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeapl.wording.names import escaped_line as one_line

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "DECISION_STYLES",
    "INTERRUPTED",
    "RESEARCH_USE_ONLY",
    "answer_console",
    "console",
    "one_line",
    "print_json",
    "take_any_text",
]

INTERRUPTED = 130
"""Exit code after a signal: 128 + SIGINT, as shells count."""

RESEARCH_USE_ONLY = "Research use only. Not for diagnosis."

DECISION_STYLES = {"FLAG": "bold white on red", "CLEAR": "bold green", "REVIEW": "bold yellow"}


def console() -> Console:
    """Return the terminal for people: stderr, so that stdout stays free for data."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def answer_console() -> Console:
    """Return stdout, for commands whose whole output is for people."""
    from rich.console import Console

    return Console(highlight=False)


def take_any_text() -> None:
    r"""Make stdout and stderr accept every text: what their encoding lacks becomes ``\xe4``.

    A terminal's encoding must not end a command whose work is done.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on one line of stdout; NaN is refused.

    Of a sequence that is neither list nor tuple, such as records on disk, one item is in memory at
    a time.
    """
    for part in _parts(document):
        sys.stdout.write(part)
    sys.stdout.flush()


def _parts(document: Mapping[str, Any]) -> Iterator[str]:
    # Before anything is printed: NaN among these leaves no half document.
    texts = {
        name: "" if _lies_elsewhere(value) else _json(value) for name, value in document.items()
    }
    yield "{"
    for place, (name, value) in enumerate(document.items()):
        yield f"{', ' if place else ''}{_json(name)}: {texts[name]}"
        if _lies_elsewhere(value):
            yield "["
            for number, item in enumerate(value):
                yield f"{', ' if number else ''}{_json(item)}"
            yield "]"
    yield "}\n"


def _lies_elsewhere(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, list, tuple))


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=True)
