"""Help texts as plain lines, shown at once.

Rich draws nicer ones, but loading what it draws them with takes longer than all else; it takes
``edgeapl[plots]`` for a style, and writes ``<bool>`` behind a flag.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

HELP = ("-h", "--help")


def polished(command: Any) -> Any:
    """Have the help of a command and of all below it written plainly; gives the command."""
    command.rich_markup_mode = None
    for below in getattr(command, "commands", {}).values():
        polished(below)
    return command


def asked_help(command: Any, words: Sequence[str], name: str) -> str | None:
    """Give the help of the command that the words call, when they ask for nothing else.

    Typer would load what reads values before it shows it, which takes longer than all else.
    """
    context = command.context_class(command, info_name=name, **command.context_settings)
    for number, word in enumerate(words):
        if word in HELP and number == len(words) - 1:
            return str(command.get_help(context))
        if word not in getattr(command, "commands", {}):
            return None
        command = command.commands[word]
        context = command.context_class(command, info_name=word, parent=context)
    return None
