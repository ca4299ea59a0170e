"""Printing that all commands share."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
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
    """Print one JSON document on one line of stdout; NaN is refused."""
    sys.stdout.write(json.dumps(document, allow_nan=False, ensure_ascii=True) + "\n")
    sys.stdout.flush()
