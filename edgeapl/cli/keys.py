"""`edgeapl keys`: make a key that signs bundles, and show what a station file names it by."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

PASSPHRASE = "EDGEAPL_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable

app = typer.Typer(
    help="Make and show keys that sign bundles.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("new")
def new(
    file: Annotated[Path, typer.Argument(help="Private key; its public half goes to FILE.pub.")],
    protect: Annotated[
        bool,
        typer.Option(
            "--protect", help=f"Protect it with a passphrase: asked for, or in {PASSPHRASE}."
        ),
    ] = False,
) -> None:
    """Make a key. Keep FILE away from the station; its fingerprint goes into the station file."""
    from edgeapl.bundle.keys import fingerprint, public_path, write_pair

    with cryptography_needed():
        public = write_pair(file, passphrase(file, confirm=True) if protect else None)
    typer.echo(f"private key: {file}: keep it away from the station")
    typer.echo(f"public key:  {public_path(file)}")
    typer.echo(f'trusted_keys = ["{fingerprint(public)}"]')


@app.command("show")
def show(file: Annotated[Path, typer.Argument(help="A public key, FILE.pub.")]) -> None:
    """Show the fingerprint of a public key."""
    from edgeapl.bundle.keys import fingerprint, read_public

    with cryptography_needed():
        typer.echo(fingerprint(read_public(file)))


@contextmanager
def cryptography_needed() -> Iterator[None]:
    """Turn a missing `cryptography` into one line."""
    from edgeapl.bundle.keys import INSTALL
    from edgeapl.errors import UsageError

    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError("keys need a missing package", error.name or "", INSTALL) from error


def passphrase(file: Path, *, confirm: bool = False) -> bytes:
    """Return the passphrase of a key, from the environment or asked for on the terminal.

    Raises UsageError where there is neither.
    """
    from edgeapl.errors import UsageError

    given = os.environ.get(PASSPHRASE, "")
    if not given and sys.stdin.isatty():
        given = typer.prompt(
            f"passphrase of {file}", hide_input=True, confirmation_prompt=confirm, err=True
        )
    if not given:
        mend = f"put it into {PASSPHRASE}, or run this on a terminal"
        raise UsageError("key needs a passphrase", file, mend)
    return given.encode()
