"""Images that a bundle has seen before: they prove nothing about unseen slides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeapl.bundle.load import Bundle
from edgeapl.calibration.document import read_set
from edgeapl.errors import BundleError, UsageError
from edgeapl.wording.names import listed
from edgeapl.wording.numbers import plural
from edgeapl.wording.printable import printable


@dataclass(frozen=True, slots=True)
class SeenImages:
    """Images by SHA-256 (hex), and what each was used for.

    training_known : whether the bundle says what it was trained on.
    """

    used_for: Mapping[str, str]
    training_known: bool


def seen_images(bundle: Bundle) -> SeenImages:
    """Return the images that a bundle's networks, ranges and look were made from.

    Raises BundleError when the bundle's lists are malformed.
    """
    used: dict[str, str] = {}
    manifest = bundle.manifest
    if manifest.calibration is not None:
        looked_at = read_set(bundle.read(manifest.calibration.images)).looked_at
        used.update(dict.fromkeys(looked_at, "calibration"))
    trained_on = read_training(bundle)
    used.update(dict.fromkeys(trained_on.images, "training"))
    return SeenImages(used, trained_on.is_known)


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """The images that a bundle was trained on, by digest, and whether these are known to be all."""

    images: frozenset[str] = frozenset()
    is_known: bool = False


def read_training(bundle: Bundle) -> TrainedOn:
    """Read what a bundle was trained on. Raises BundleError when its list is malformed."""
    if bundle.manifest.training is None:
        return TrainedOn()
    name = bundle.manifest.training.images
    try:
        document = json.loads(bundle.read(name))
        images = frozenset(str(digest) for digest in document["images"])
        return TrainedOn(images, bool(document.get("complete", True)))
    except (ValueError, KeyError, TypeError) as error:
        mend = f"{error}; export the bundle again"
        raise BundleError("list of training images not understood", name, mend) from error


def refuse_seen(found: Mapping[str, str]) -> None:
    """Raise UsageError when slides were seen before. found : slide to what it was used for."""
    if not found:
        return
    names = [f"{printable(name)} ({what})" for name, what in sorted(found.items())]
    raise UsageError(
        f"{plural(len(found), 'labelled slide was', 'labelled slides were')} seen before "
        "and prove nothing",
        listed(names),
        "take them out, or add --leave-out-seen",
    )


def refuse_shared(owners: Mapping[str, Sequence[str]], files: Mapping[str, Path]) -> None:
    """Raise UsageError when two patients share an image, as one patient would count twice.

    Parameters
    ----------
    owners : digest to the patients who have this image. files : digest to one such file.
    """
    for digest, patients in owners.items():
        if len(set(patients)) > 1:
            who = " and ".join(printable(name) for name in sorted(set(patients))[:2])
            which = f"{printable(files[digest])}: {who}"
            raise UsageError("one image belongs to two patients", which, "keep it with one of them")
