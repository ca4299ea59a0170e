"""The token of the page comes from a file or the environment and is left in neither."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from edgeapl.cli.page_token import VARIABLE, page_token, without_token
from edgeapl.errors import ConfigError, UsageError

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("arguments", "rest"),
    [
        (["p", "watch", "0", "--token", TOKEN, "--page"], ["p", "watch", "0", "--page"]),
        (["p", f"--token={TOKEN}", "watch"], ["p", "watch"]),
        (["p", "watch", "--token-file", "t"], None),
        (["p", "watch"], None),
    ],
)
def test_the_token_is_taken_out_of_the_command(
    arguments: list[str], rest: list[str] | None
) -> None:
    assert without_token(arguments) == rest


def test_a_file_wins_over_the_environment_which_is_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "x" * 20)
    file = tmp_path / "token"
    file.write_text(f" {TOKEN} \nrest\n", encoding="utf-8")
    file.chmod(0o600)
    assert page_token("x" * 20, file, Console(quiet=True)) == TOKEN
    assert VARIABLE not in os.environ
    assert page_token("x" * 20, None, Console(quiet=True)) == "x" * 20


def test_a_file_that_all_can_read_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN, encoding="utf-8")
    file.chmod(0o644)
    page_token(None, file, Console(width=300))
    assert "everyone on this machine can read the token" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"\xff", "cannot be read"),
    ],
)
def test_a_bad_token_file_is_one_clear_error(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        page_token(None, file, Console(quiet=True))


def test_two_tokens_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["p", "--token", TOKEN])
    with pytest.raises(UsageError, match="twice"):
        page_token(TOKEN, Path("token"), Console(quiet=True))


LOOK = """
import sys
from rich.console import Console
from edgeapl.cli.page_token import page_token
given = dict(zip(sys.argv, sys.argv[1:])).get("--token")
import os
token = page_token(given or os.environ.get("EDGEAPL_TOKEN"), None, Console(stderr=True))
print(token, open("/proc/self/cmdline").read().replace(chr(0), " "))
"""


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_a_token_behind_the_command_does_not_stay_in_the_list_of_processes(tmp_path: Path) -> None:
    script = tmp_path / "look.py"
    script.write_text(LOOK, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), "a", "--token", TOKEN, "b"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    token, _, command = done.stdout.partition(" ")
    assert token == TOKEN
    assert TOKEN not in command
    assert command.split()[-2:] == ["a", "b"]
    assert "seen by everyone" in done.stderr.replace("\n", " ")
