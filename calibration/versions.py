"""Where the next version of a bundle goes, and its version number."""

from __future__ import annotations

import re
from pathlib import Path

from edgeapl.errors import UsageError
from edgeapl.model import is_embedded


def next_version(version: str) -> str:
    """Return the version of the calibrated bundle: a local one, as the networks are the same.

    ``1.0`` becomes ``1.0+cal1``, that ``1.0+cal2``.
    """
    found = re.fullmatch(r"(.*)\+cal(\d+)", version)
    return f"{found[1]}+cal{int(found[2]) + 1}" if found else f"{version}+cal1"


def target_of(bundle: Path, out: Path | None) -> Path:
    """Return the folder of the next version. Raises UsageError when it cannot be written there."""
    target = out or bundle
    if is_embedded(target):
        raise UsageError(
            "the embedded bundle is part of the program", target, "name a new folder with --out"
        )
    if target.exists() and not (target / "bundle.toml").is_file():
        raise UsageError("folder is not a bundle", target, "name a new folder with --out")
    return target
