"""Replaces a folder by a finished one."""

from __future__ import annotations

from pathlib import Path

from edgeapl.errors import StorageError


def replace_folder(made: Path, target: Path) -> None:
    """Move a finished folder to its place; the old one is kept until that has succeeded.

    Parameters
    ----------
    made : finished folder, in a temporary folder on the same disk as `target`; the caller removes
        the temporary folder, and the old version with it.
    target : its place.

    Raises StorageError when it cannot be moved; the old version is then back in its place.
    """
    old = made.with_name("old")
    try:
        try:
            if target.exists():
                target.rename(old)
            made.rename(target)
        except BaseException:  # also Ctrl-C, or the old version would go with the temporary folder
            if old.exists() and not target.exists():
                old.rename(target)
            raise
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise StorageError(f"bundle cannot be replaced ({reason})", target, "name --out") from error
