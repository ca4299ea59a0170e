"""Help texts as plain lines, shown at once.

Rich draws prettier ones, but loading it takes longer than everything else; it also reads
``edgeapl[plots]`` as a style and writes ``<bool>`` after a flag.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from edgeapl.cli.examples import EXAMPLES

HELP = ("-h", "--help")


def with_plain_help(command: Any, path: str = "") -> Any:
    """Make a command and its subcommands write plain help, with groups and examples; return it.

    path : words that call it, without the program's name.
    """
    command.rich_markup_mode = None
    command.format_options = partial(_write_options, command, command.format_options)
    command.format_epilog = partial(_write_examples, command.format_epilog, path)
    for name, subcommand in getattr(command, "commands", {}).items():
        with_plain_help(subcommand, f"{path} {name}".strip())
    return command


def requested_help(command: Any, words: Sequence[str], name: str) -> str | None:
    """Return the help of the command that the words call, if they ask for nothing else.

    None for all other words. Typer would
    first load the modules that parse values, which takes longer than everything else.
    """
    context = command.context_class(command, info_name=name, **command.context_settings)
    for number, word in enumerate(words):
        if word in HELP and number == len(words) - 1:
            return str(command.get_help(context))
        if word not in getattr(command, "commands", {}):
            return None
        command = command.commands[word]
        context = command.context_class(command, info_name=word, parent=context)
    return str(command.get_help(context)) if is_group(command) else None


def is_group(command: Any) -> bool:
    """Whether a command only has subcommands."""
    return bool(getattr(command, "commands", None))


def _write_options(command: Any, original: Any, context: Any, formatter: Any) -> None:
    """Write arguments and options, each group of options under its own heading."""
    if is_group(command):
        original(context, formatter)
        return
    groups: dict[str, list[tuple[str, str]]] = {"Arguments": []}
    others = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        panel = getattr(parameter, "rich_help_panel", None)
        if parameter.param_type_name == "argument":
            groups["Arguments"].append(record)
        elif panel is None:
            others.append(record)
        else:
            groups.setdefault(panel, []).append(record)
    headed = {**groups, "Other options" if len(groups) > 1 else "Options": others}
    for heading, records in headed.items():
        if records:
            with formatter.section(heading):
                formatter.write_dl(records)


def _write_examples(original: Any, path: str, context: Any, formatter: Any) -> None:
    examples = EXAMPLES.get(path, ())
    if examples:
        with formatter.section("Examples"):
            for line in examples:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")
    original(context, formatter)
