"""What identifies an image under any name: the digests of its file and of its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgeapl.bundle.digest import sha256_file
from edgeapl.errors import ConfigError, InputError
from edgeapl.sources.decode import digest_of_part, read_images
from edgeapl.wording.printable import printable


def image_digests(path: Path) -> Iterator[str]:
    """Yield the digest of an existing file, and those of its pictures if it has several.

    Raises ConfigError when the file cannot be read.
    """
    try:
        if path.is_file():
            digest = sha256_file(path)
            yield digest
            yield from (digest_of_part(digest, f"#{number}") for number in range(_several(path)))
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise ConfigError(
            f"image cannot be read ({reason})", printable(path), "check its rights"
        ) from error


def _several(path: Path) -> int:
    """Return how many pictures a file holds if more than one, else 0."""
    try:
        count = len(read_images(path))
    except InputError:
        return 0  # unreadable files are never measured
    return count if count > 1 else 0
