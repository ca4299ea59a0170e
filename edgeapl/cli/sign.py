"""`edgeapl sign`: vouch for a bundle, or for engines, with a key."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edgeapl.cli.keys import PASSPHRASE, cryptography_needed, passphrase
from edgeapl.cli.output import RESEARCH_USE_ONLY, one_line


def sign(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle, or engines.")],
    key: Annotated[
        Path,
        typer.Option(
            help="Private key, ed25519 in PEM; edgeapl keys new makes one. Its passphrase is asked "
            f"for, or taken from {PASSPHRASE}."
        ),
    ],
    name: Annotated[str, typer.Option(help="Who signs; stands in every verdict.")],
) -> None:
    """Sign a bundle or engines for stations that trust the key.

    A bundle must pass its self-test. Every later change, by calibrate for example, needs a new
    signature.
    """
    from edgeapl.bundle.keys import read_private
    from edgeapl.engines.store.record import RECORD
    from edgeapl.model.signer import sign_bundle, sign_engines

    with cryptography_needed():
        private = read_private(key, partial(passphrase, key))
        signing = sign_engines if (folder / RECORD).is_file() else sign_bundle
        signer = signing(folder, private, name)
    typer.echo(one_line(f"{folder} is signed by {signer.name}"))
    typer.echo(f"key {signer.key}")
    typer.echo(RESEARCH_USE_ONLY)
