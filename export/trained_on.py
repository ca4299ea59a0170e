"""Digests of the images that a model was trained on, so that later steps can refuse them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from edgeapl.errors import ConfigError
from edgeapl.sources.digests import image_digests
from edgeapl.sources.discover import find_slides
from edgeapl.wording.printable import printable

FILE = "training-set.json"
SCHEMA = 1


def training_set(source: Path) -> bytes:
    """Return the file of a bundle that lists what it was trained on.

    Parameters
    ----------
    source : a folder of images, or a JSON file with their digests under ``images``.

    Raises ConfigError for a file that is not such a list, InputError for a folder without images.
    """
    if source.is_dir():
        files = [file for slide in find_slides(source).slides for file in slide.files]
        digests = {digest for file in files for digest in image_digests(file)}
    else:
        digests = set(_listed(source))
    return digests_document(digests)


def digests_document(digests: Iterable[str], *, complete: bool = True) -> bytes:
    """Return the file's content for these digests.

    complete : no other image taught the networks; not so for a student whose parent does not say
        what it was trained on.
    """
    document: dict[str, object] = {"schema": SCHEMA, "research_use_only": True}
    document["images"] = sorted(digests)
    if not complete:
        document["complete"] = False
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _listed(path: Path) -> list[str]:
    mend = 'give a folder of images, or JSON with "images": [SHA-256, ...]'
    try:
        images = json.loads(path.read_text(encoding="utf-8-sig"))["images"]
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise ConfigError(
            f"training images cannot be read ({reason})", printable(path), mend
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "list of training images not understood", printable(path), mend
        ) from error
    if not isinstance(images, list) or not images:
        raise ConfigError("list of training images is empty", printable(path), mend)
    for digest in images:
        if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            which = f"{printable(path)}: {ascii(digest)[:80]}"
            raise ConfigError("training image is not named by its SHA-256", which, mend)
    return images
