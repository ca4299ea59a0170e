"""The command `edgeapl`: find the subcommand, and turn every error into one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import typer

from edgeapl import __version__
from edgeapl.cli.help import HELP, asked_help, polished
from edgeapl.cli.output import INTERRUPTED, one_line, take_any_text
from edgeapl.errors import EdgeAplError

EXIT_CODES = """
Exit codes: 0 every input was examined; 1 a network does not answer like the one it was made from; 2
usage or settings; 3 some input was not examined; 4 model refused; 5 storage; 6 camera; 7 deadline;
8 a recipe's own code failed; 130 stopped by Ctrl-C. A FLAG does not change the exit code unless
--fail-on-flag is given: then it is 10. Research use only. Not for diagnosis.
"""


COMMANDS = (
    "demo",
    "score",
    "merge",
    "watch",
    "cameras",
    "evaluate",
    "train",
    "export",
    "export-labels",
    "cohorts",
    "calibrate",
    "build-engine",
    "monitor",
    "bench",
    "inspect",
    "sign",
    "doctor",
)
"""Each is the function of its name in the module of its name."""

GROUPS = ("engines", "journal", "keys")
"""Each is the `app` in the module of its name."""


def build_app(called: str | None = None) -> typer.Typer:
    """Put the commands together.

    Parameters
    ----------
    called : the first word of the command line. Of a command nothing but that one is built; of
        anything else only what the list of commands shows, without their options. None for all.
    """
    named = called in (*COMMANDS, *GROUPS)
    app = typer.Typer(
        name="edgeapl",
        help="Raise an APL flag from smear images with a trained model.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": list(HELP)},
    )
    app.callback()(_options)
    for name in COMMANDS:
        if name == called or not named:
            function = getattr(_module(name), name.replace("-", "_"))
            app.command(name)(function if called in (None, name) else _listed(function))
    for name in GROUPS:
        if name == called or not named:
            app.add_typer(_module(name).app, name=name)
    return app


def _module(name: str) -> ModuleType:
    return import_module(f"edgeapl.cli.{name.replace('-', '_')}")


def _listed(function: Callable[..., object]) -> Callable[[], None]:
    """Give a command without its options, which take most of the time, for the list of commands."""

    def listed() -> None:
        raise AssertionError("only listed")

    listed.__doc__ = function.__doc__
    return listed


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"edgeapl {__version__}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Raise an APL flag from smear images with a trained model."""
    # Typer shows this text and the options; each option acts by its callback.


def main() -> None:
    """Run the command line and leave with its exit code."""
    take_any_text()
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Run with the given arguments (default: the process's) and give the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        command = polished(typer.main.get_command(build_app(next(iter(words), ""))))
        text = asked_help(command, words, "edgeapl")
        if text is not None:
            typer.echo(text)
            return 0
        code = command(arguments, prog_name="edgeapl", standalone_mode=False)
    except EdgeAplError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        if not error.format_message().strip():
            return 2  # called without a command: the help was printed instead
        return _fail(f"usage: {error.format_message()} Try '{_help_of(error)}'", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(
            "stopped: what was finished is kept; run the same command to go on", INTERRUPTED
        )
    except BrokenPipeError:
        # The reader of our output has gone; point stdout elsewhere or Python complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 5
    return int(code or 0)


def _help_of(error: typer.TyperException) -> str:
    """Give the command whose help says how it is used: that of the subcommand that was called."""
    context = getattr(error, "ctx", None)
    return f"{'edgeapl' if context is None else context.command_path} --help"


def _fail(text: str, code: int) -> int:
    typer.echo(f"error: {one_line(text)}", err=True)
    return code
