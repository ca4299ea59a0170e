"""Help as people expect it: -h, flags without a type, nothing swallowed, 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from rich.text import Text

from edgeapl.cli.help import polished
from edgeapl.cli.main import build_app, run


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


def test_every_help_text_is_shown_whole() -> None:
    """Square brackets are markup for Rich: what looks like a style would be left out."""
    written = {p.help for p in parameters(typer.main.get_command(build_app())) if p.help}
    shown = {
        Text.from_markup(p.help).plain
        for p in parameters(polished(typer.main.get_command(build_app())))
        if p.help
    }
    assert shown == written
    assert any("edgeapl[plots]" in text for text in written)


def parameters(command: Any) -> Iterator[Any]:
    yield from command.params
    for below in getattr(command, "commands", {}).values():
        yield from parameters(below)


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
