"""The token of the page: from a file or the environment, never left in the list of processes."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeapl.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

VARIABLE = "EDGEAPL_TOKEN"
OPTION = "--token"
MOST_BYTES = 4096


def page_token(given: str | None, file: Path | None, terminal: Console) -> str | None:
    """Return the token. One on the command line restarts the program without it.

    Raises UsageError when there are two, ConfigError when the file cannot be read.
    """
    rest = without_token(sys.orig_argv)
    if given is not None and rest is not None:
        if file is not None:
            raise UsageError("token is given twice", "--token and --token-file", "give the file")
        text = (
            "a token behind the command is seen by everyone on this machine and kept by the "
            f"shell: use --token-file FILE or {VARIABLE}"
        )
        terminal.print(text, style="yellow", markup=False, soft_wrap=True)
        os.execve(sys.executable, [sys.executable, *rest[1:]], {**os.environ, VARIABLE: given})  # noqa: S606
    # What the station starts, drivers and the command of --on-flag for two, need not know it.
    os.environ.pop(VARIABLE, None)
    return given if file is None else _read(file, terminal)


def without_token(arguments: Sequence[str]) -> list[str] | None:
    """Return the arguments without the token; None when it is not among them."""
    rest: list[str] = []
    skip = found = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == OPTION:
            skip = found = True
        elif argument.startswith(f"{OPTION}="):
            found = True
        else:
            rest.append(argument)
    return rest if found else None


def _read(file: Path, terminal: Console) -> str:
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError("token file is not a file", file, "write the token into one")
            lines = opened.read(MOST_BYTES).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("token file cannot be read", file, str(error)) from error
    if mode & stat.S_IROTH:
        text = f"everyone on this machine can read the token: chmod 600 {file}"
        terminal.print(text, style="yellow", markup=False, soft_wrap=True)
    if not lines or not lines[0].strip():
        raise ConfigError("token file is empty", file, "write the token into its first line")
    return lines[0].strip()
