"""The command `edgeapl`: finds the subcommand and turns every error into one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType

import typer

from edgeapl import __version__
from edgeapl.cli.help import HELP, requested_help, with_plain_help
from edgeapl.cli.output import INTERRUPTED, one_line, take_any_text
from edgeapl.errors import EdgeAplError

EXIT_CODES = """
Exit codes: 0 every input was examined; 1 a network does not answer like the one it was made from; 2
usage or settings; 3 some input was not examined; 4 model refused; 5 storage; 6 camera; 7 deadline;
8 a recipe's own code failed; 130 stopped by Ctrl-C. A FLAG does not change the exit code unless
--fail-on-flag is given: then it is 10. Research use only. Not for diagnosis.
"""


COMMANDS = {
    "demo": "Examine a drawn slide with the demonstration bundle.",
    "score": "Score all slides of a folder; write verdicts and reports.",
    "merge": "Merge result folders and journals of several machines.",
    "watch": "Examine one slide after another at a camera.",
    "cameras": "List cameras by addresses that stay the same.",
    "evaluate": "Compare verdicts with diagnoses: accuracy, F1, curves.",
    "compare": "Compare two bundles on the same slides.",
    "train": "Train a network on your slides and test it on new patients.",
    "distill": "Teach one small network a bundle's answers, and prove it.",
    "export": "Export a PyTorch model as a proven bundle.",
    "export-labels": "Export cells with labels, for training and annotation.",
    "cohorts": "List public cohorts, or read one that you downloaded.",
    "calibrate": "Measure a bundle on real images; prove what it may clear.",
    "build-engine": "Build engines for this machine, and prove them.",
    "monitor": "Show a station over weeks: verdicts, drift, corrections.",
    "bench": "Measure how fast a bundle is on this machine.",
    "inspect": "Check a bundle or engines, and show what they contain.",
    "sign": "Sign a bundle or engines for stations that trust the key.",
    "doctor": "Check this machine: runtimes, CPU, disk, journal, station.",
}
"""Each is the function of its name in the module of its name, with the first line of its docstring:
the list of commands imports none of them, as it would take most of its time."""

USAGE = 2
"""Exit code for a command line that is not understood."""

AFTER_STOP = {
    "score": "finished slides are kept; run the same command to continue",
    "train": "finished epochs are kept; run the same command to continue",
    "watch": "a slide that was open is examined again at the next start",
}
START_OVER = "run the same command to start over"
"""What to do after Ctrl-C, by command."""

COMPLETION = "_EDGEAPL_COMPLETE"
"""Set by a shell that asks for completion."""

GROUPS = {
    "cluster": "Scripts that start clusters for score --cluster.",
    "engines": "List, verify, inspect and remove built engines.",
    "journal": "Read, verify and sign the record of verdicts.",
    "keys": "Make and show keys that sign bundles.",
    "station": "The bundle that a station uses.",
}
"""Each is the `app` in the module of its name, with its help."""


def build_app(called: str | None = None) -> typer.Typer:
    """Build the command line.

    Parameters
    ----------
    called : the first word of the command line. Only the command of this name is built; for any
        other word all are listed, without what they take. None builds everything.
    """
    named = called in (*COMMANDS, *GROUPS)
    app = typer.Typer(
        name="edgeapl",
        help="Raise an APL flag from smear images with a trained model.",
        epilog=EXIT_CODES,
        no_args_is_help=True,
        # Its two options take time to build, and stand only where no command is called.
        add_completion=not named,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": list(HELP)},
    )
    app.callback()(_options)
    listed = called is not None and not named
    for name, summary in COMMANDS.items():
        if listed:
            app.command(name)(_listed(summary))
        elif called in (None, name):
            app.command(name)(getattr(_module(name), name.replace("-", "_")))
    for name, summary in GROUPS.items():
        if listed:
            app.command(name)(_listed(summary))
        elif called in (None, name):
            app.add_typer(_module(name).app, name=name)
    return app


def _module(name: str) -> ModuleType:
    return import_module(f"edgeapl.cli.{name.replace('-', '_')}")


def _listed(summary: str) -> Callable[[], None]:
    """Return a command without its options, for the list."""

    def listed() -> None:
        raise AssertionError("only listed")

    listed.__doc__ = summary
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
    """Run the command line and exit with its exit code."""
    take_any_text()
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Run with these arguments (default: the process's) and return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        command = with_plain_help(typer.main.get_command(build_app(_called(words))))
        if COMPLETION in os.environ:
            command(words, prog_name="edgeapl")  # answers the shell and exits
        text = requested_help(command, words, "edgeapl")
        if text is not None:
            typer.echo(text)
            return 0 if words and words[-1] in HELP else USAGE  # a group without a command
        # Not by calling the command, which turns Ctrl-C into an exit code like any other.
        with command.make_context("edgeapl", list(words)) as context:
            command.invoke(context)
    except EdgeAplError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        return _fail(f"usage: {error.format_message()} Try '{_help_of(error)}'", USAGE)
    except typer.Exit as done:
        return int(done.exit_code)
    except (KeyboardInterrupt, EOFError, typer.Abort):
        return _fail(f"stopped: {AFTER_STOP.get(_called(words) or '', START_OVER)}", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone; point stdout elsewhere or Python complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 5
    return 0


def _called(words: Sequence[str]) -> str | None:
    """Return the first word; None when a shell asks for completion, which needs every command."""
    return None if COMPLETION in os.environ else next(iter(words), "")


def _help_of(error: typer.TyperException) -> str:
    """Return the command line that shows the help of the subcommand that was called."""
    context = getattr(error, "ctx", None)
    return f"{'edgeapl' if context is None else context.command_path} --help"


def _fail(text: str, code: int) -> int:
    typer.echo(f"error: {one_line(text)}", err=True)
    return code
