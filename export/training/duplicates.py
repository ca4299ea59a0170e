"""Whether one picture stands under two patients: by its digest, or by how it looks.

Near-duplicates (saved again, resized, brightened, turned, mirrored, moved) are found by signatures
that none of this changes, and then laid on each other; `docs/training.md` has what was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from edgeapl.errors import InputError
from edgeapl.export.training.alignment import aligned_correlation, picture_of
from edgeapl.export.training.cell_pool import CellPool
from edgeapl.types import Float32, Int64, UInt8
from edgeapl.wording.printable import printable

ALIKE = 0.82
"""Correlation of details from which two pictures are one, laid on each other."""

LIKELY = 0.82
"""Product of two signatures from which they are laid on each other."""

MOST_TRIED = 8
"""The likeliest pictures before one that it is laid on."""

CHUNK = 512
"""Rows whose products with all rows before are held at once."""

FLAT = 1.0
"""Grey levels: a thumbnail that varies less shows nothing that could be compared."""


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
    alike : correlation of details from which two are one picture.
    """
    pictures = [picture_of(crop) for crop in crops]
    rows = [row for row, one in enumerate(pictures) if one.thumbnail.std() >= FLAT]
    if not rows:
        return
    signatures = np.stack([pictures[row].signature for row in rows])
    _, numbers = np.unique([groups[row] for row in rows], return_inverse=True)
    for start in range(0, len(rows), CHUNK):
        for at, before in _likely(signatures, numbers, start):
            one, other = rows[before], rows[at]
            if aligned_correlation(pictures[one], pictures[other]) >= alike:
                yield one, other


def _likely(signatures: Float32, groups: Int64, start: int) -> Iterator[tuple[int, int]]:
    """Yield each place from `start` on, `CHUNK` of them, with the likeliest places before it."""
    end = min(start + CHUNK, len(signatures))
    products = signatures[start:end] @ signatures[:end].T
    for at in range(start, end):
        alike = np.where(groups[:at] == groups[at], -1.0, products[at - start, :at])
        likely = np.flatnonzero(alike >= LIKELY)
        for before in likely[np.argsort(-alike[likely], kind="stable")][:MOST_TRIED]:
            yield at, int(before)


def _refusal(what: str, pool: CellPool, first: int, row: int) -> InputError:
    both = " and ".join(printable(pool.images[at].file) for at in (first, row))
    return InputError(what, both, "they would be trained on and tested with: remove one")
