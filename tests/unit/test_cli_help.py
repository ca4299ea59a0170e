"""Help as people expect it: -h, flags without a type, nothing swallowed, 80 columns."""

from __future__ import annotations

import os
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from edgeapl.cli import main
from edgeapl.cli.examples import EXAMPLES
from edgeapl.cli.main import COMPLETION, build_app, run

MOST_IN_GROUP = 9


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


ALL = list(commands(typer.main.get_command(build_app())))


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_its_help_behind_h_too_and_it_fits(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*path, "--help"]) == 0
    long = capsys.readouterr().out
    assert run([*path, "-h"]) == 0
    assert capsys.readouterr().out == long
    assert "<bool>" not in long, "a flag takes no value"
    assert max(map(len, long.splitlines())) <= 80


def test_square_brackets_are_shown_as_they_are_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rich would take them for markup and leave them out."""
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["evaluate", "-h"]) == 0
    assert "edgeapl[plots]" in capsys.readouterr().out


def test_the_list_of_commands_is_that_of_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    """They are listed without being built; what is called is built alone."""
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for path in ALL:
        if len(path) == 1:
            assert f"\n  {path[0]} " in shown


@pytest.mark.parametrize("path", [[], ["watch"], ["journal", "verify"]], ids=str)
def test_help_is_the_same_whoever_shows_it(
    path: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked for alone it is shown at once; beside other options Typer shows it."""
    assert run([*path, "-h"]) == 0
    at_once = capsys.readouterr().out
    assert run([*path, "-h", "--help"]) == 0
    assert capsys.readouterr().out == at_once


@pytest.mark.parametrize("path", [[], ["score"], ["watch"]], ids=str)
def test_help_takes_at_most_twice_the_time_of_importing_what_it_stands_on(path: list[str]) -> None:
    """Time of the processor, the least of several in turns, so that other programs count little."""
    ours = [sys.executable, "-m", "edgeapl", *path, "--help"]
    theirs = [sys.executable, "-c", "import typer, rich"]
    times = [(processor_time(ours), processor_time(theirs)) for _ in range(5)]
    assert min(one for one, _ in times) <= 2 * min(other for _, other in times), times


def processor_time(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["score", "--nonsense"], "Try 'edgeapl score --help'"),
        (["watch", "0", "--budget", "x"], "Try 'edgeapl watch --help'"),
        (["engines", "remove"], "Try 'edgeapl engines remove --help'"),
        (["nonsense"], "Try 'edgeapl --help'"),
    ],
)
def test_a_mistake_names_the_help_of_its_own_command(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: usage: ")
    assert named in said


def words_of(path: tuple[str, ...]) -> str:
    return " ".join(path)


COMMANDS = typer.main.get_command(build_app())


GROUPS = [path for path in ALL if len(path) < 2 and (not path or path[0] in main.GROUPS)]


def test_the_list_shows_the_first_line_of_every_commands_help() -> None:
    for name, summary in {**main.COMMANDS, **main.GROUPS}.items():
        command = command_of((name,))
        assert (command.help or "").split("\n\n")[0].replace("\n", " ") == summary


def command_of(path: tuple[str, ...]) -> Any:
    command: Any = COMMANDS
    for word in path:
        command = command.commands[word]
    return command


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_shows_examples_that_it_takes(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    command = command_of(path)
    if getattr(command, "commands", None) and path:
        return  # its commands have them
    examples = EXAMPLES[words_of(path)]
    assert run([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    assert examples
    for line in examples:
        assert f"\n  {line}\n" in shown
        program, *words = shlex.split(line.partition(" > ")[0])
        assert program == "edgeapl"
        named = command_path(words)
        assert words[: len(named)] == list(named)
        assert not path or named == path
        rest = words[len(named) :]
        command_of(named).make_context(words_of(named), rest)  # raises for what it does not take


def command_path(words: list[str]) -> tuple[str, ...]:
    return max((path for path in ALL if tuple(words[: len(path)]) == path), key=len)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_many_options_are_in_groups(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    if getattr(command_of(path), "commands", None):
        return
    assert run([*path, "--help"]) == 0
    sections = capsys.readouterr().out.split("\n\n")
    options = [part for part in sections if re.search(r"^  (-\w, )?--\w", part, re.MULTILINE)]
    most = max(len(re.findall(r"^  (?:-\w, )?--\w", part, re.MULTILINE)) for part in options)
    assert most <= MOST_IN_GROUP


@pytest.mark.parametrize("path", GROUPS, ids=str)
def test_a_group_alone_shows_its_commands_and_cuts_no_text_off(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(list(path)) == 2, "it was called without a command"
    said = capsys.readouterr()
    assert not said.err
    listed = said.out.partition("Commands:\n")[2].partition("Examples:")[0]
    assert listed.startswith("  ")
    assert "..." not in listed


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("edgeapl sc", ["score"]),
        ("edgeapl journal ack", ["acknowledge"]),
        ("edgeapl watch --max", ["--max-frames"]),
        ("edgeapl bench --scenario off", ["offline"]),
    ],
)
def test_a_shell_completes_commands_options_and_choices(typed: str, wanted: list[str]) -> None:
    words = typed.split(" ")
    environment = {
        **os.environ,
        COMPLETION: "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "edgeapl"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == wanted, done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [("score", "run the same command to continue"), ("doctor", "to start over")],
)
def test_after_ctrl_c_it_says_how_to_go_on(
    command: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgeapl.config.load_station", interrupted)
    assert run([command, "slides"] if command == "score" else [command]) == 130
    assert said in capsys.readouterr().err
