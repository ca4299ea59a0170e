"""Help texts as people expect them: flags without a type, and shown at once.

Rich draws nicer ones, but loading what it draws them with takes longer than all else, and it takes
``edgeapl[plots]`` for a style.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

HELP = ("-h", "--help")


def polished(command: Any) -> Any:
    """Mend the help of a command and of all below it, and give it."""
    command.rich_markup_mode = None
    for parameter in command.params:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    command.get_help_option = partial(_untyped, command.get_help_option)
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


def _untyped(made: Callable[[Any], Any], context: Any) -> Any:
    """Give the option --help, which is made when it is asked for, without a type."""
    option = made(context)
    if option is not None:
        option.metavar = ""
    return option
