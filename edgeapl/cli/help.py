"""Help texts as people expect them: flags without a type, square brackets as they are written."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


def polished(command: Any) -> Any:
    """Mend the help of a command and of all below it, and give it.

    Typer writes ``<bool>`` behind a flag, and takes ``edgeapl[plots]`` for a style of Rich.
    """
    from rich.markup import escape

    for parameter in command.params:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
        if parameter.help:
            parameter.help = escape(parameter.help)
    command.get_help_option = partial(_untyped, command.get_help_option)
    for below in getattr(command, "commands", {}).values():
        polished(below)
    return command


def _untyped(made: Callable[[Any], Any], context: Any) -> Any:
    """Give the option --help, which is made when it is asked for, without a type."""
    option = made(context)
    if option is not None:
        option.metavar = ""
    return option
