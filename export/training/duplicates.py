"""Whether one picture stands under two patients: by its digest, or by how it looks.

Near-duplicates (saved again, resized, brightened, turned by a quarter, mirrored) are found by a
perceptual hash: 64 signs of the lowest waves of a grey thumbnail (Zauner 2010). Pictures of which
16 signs in a row are equal are compared pixel by pixel; `docs/training.md` has what was measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import InputError
from edgeapl.export.training.cell_pool import CellPool
from edgeapl.types import Float32, UInt8
from edgeapl.wording.printable import printable

SIDE = 32
WAVES = 8
BANDS = 4

ALIKE = 0.97
"""Correlation of two thumbnails from which they are one picture."""

FLAT = 1.0
"""Grey levels: a thumbnail that varies less shows nothing that could be compared."""

Bands = NDArray[np.uint16]


def check_patients_apart(pool: CellPool) -> None:
    """Raise InputError when the same picture, or nearly the same, is under two patients.

    Such a picture would be trained on and tested with.
    """
    of_digest: dict[str, int] = {}
    for row, digest in enumerate(pool.digests):
        first = of_digest.setdefault(digest, row)
        if pool.images[first].patient != pool.images[row].patient:
            raise _refusal("the same image is under two patients", pool, first, row)
    for first, row in near_duplicates(pool.crops, pool.patients):
        raise _refusal("nearly the same image is under two patients", pool, first, row)


def grouped_alike(pool: CellPool) -> CellPool:
    """Let pictures that show the same have one patient in common, so that no split parts them.

    For cohorts that name no patients: each picture is a patient of its own in `pool`.
    """
    rows = first_alike(pool.crops, pool.digests)
    images = tuple(
        replace(image, patient=pool.images[first].patient)
        for image, first in zip(pool.images, rows, strict=True)
    )
    return replace(pool, images=images)


def first_alike(pictures: UInt8, digests: Sequence[str]) -> list[int]:
    """Return the first row that shows the same as each row, itself where there is none before.

    pictures : uint8 (N, H, W, 3) RGB. digests : of their files.
    """
    first: dict[str, int] = {}
    rows = [first.setdefault(digest, row) for row, digest in enumerate(digests)]
    for one, other in near_duplicates(pictures, [str(row) for row in rows]):
        a, b = _root(rows, one), _root(rows, other)
        rows[max(a, b)] = min(a, b)
    return [_root(rows, row) for row in range(len(rows))]


def _root(rows: Sequence[int], row: int) -> int:
    while rows[row] != row:
        row = rows[row]
    return row


def near_duplicates(
    crops: UInt8, groups: Sequence[str], alike: float = ALIKE
) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows of different groups that show the same.

    Parameters
    ----------
    crops : uint8 (N, S, S, 3) RGB. groups : what each row belongs to, e.g. its patient.
    alike : correlation of thumbnails from which two are one picture.
    """
    thumbnails = np.stack([_thumbnail(crop) for crop in crops]) if len(crops) else np.empty((0,))
    seen: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, thumbnail in enumerate(thumbnails):
        if thumbnail.std() < FLAT:
            continue
        views = _views(thumbnail)
        tried: set[int] = set()
        for view in views:
            for key in _keys(view):
                for other in seen[key]:
                    if groups[other] == groups[row] or other in tried:
                        continue
                    tried.add(other)
                    if any(_correlation(thumbnails[other], each) >= alike for each in views):
                        yield other, row
        for key in _keys(thumbnail):
            seen[key].append(row)


def _thumbnail(crop: UInt8) -> Float32:
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)


def _views(thumbnail: Float32) -> list[Float32]:
    """Return a thumbnail turned by quarters, and mirrored: eight of them."""
    turned = [np.rot90(thumbnail, quarter) for quarter in range(4)]
    return [np.ascontiguousarray(view) for each in turned for view in (each, each[:, ::-1])]


def _keys(thumbnail: Float32) -> list[tuple[int, int]]:
    """Return the four bands of 16 signs of the perceptual hash, each with its number."""
    waves = np.asarray(cv2.dct(thumbnail))[:WAVES, :WAVES].ravel()
    signs = waves > np.median(waves[1:])
    bands: Bands = np.packbits(signs).view(np.uint16)
    return [(band, int(bands[band])) for band in range(BANDS)]


def _correlation(one: Float32, other: Float32) -> float:
    a, b = one - one.mean(), other - other.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def _refusal(what: str, pool: CellPool, first: int, row: int) -> InputError:
    both = " and ".join(printable(pool.images[at].file) for at in (first, row))
    return InputError(what, both, "they would be trained on and tested with: remove one")
