"""Chooses the cells for measuring ranges: all different, from all slides and classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Float32, UInt8

UInt64 = NDArray[np.uint64]
Int64 = NDArray[np.int64]

HASH_BITS = 4
"""Hash bits, of 64, that may differ between two pictures of the same cell; two cells of one class
differ in about 20."""

SAME_FEATURES = 0.98
"""Cosine of the features of two pictures of the same cell."""

_HASH_SIDE = 8


@dataclass(frozen=True, slots=True)
class Stratum:
    """A stratum over which the choice is spread.

    slide : name of the slide. predicted : the class given by the FP32 networks.
    """

    slide: str
    predicted: str


def picture_hashes(crops: UInt8) -> UInt64:
    """Return the difference hash of each crop, uint64 (N,).

    Parameters
    ----------
    crops : uint8 (N, size, size, 3) RGB.

    Each bit says whether one of 8 x 8 cells of a grid is brighter in green than its right
    neighbour, so the hash does not depend on exposure, and little on noise, JPEG or a small shift.
    """
    hashes = np.empty(len(crops), dtype=np.uint64)
    size = (_HASH_SIDE + 1, _HASH_SIDE)
    for row, crop in enumerate(crops):
        small = cv2.resize(np.ascontiguousarray(crop[..., 1]), size, interpolation=cv2.INTER_AREA)
        bits = small[:, :-1] > small[:, 1:]
        hashes[row] = np.packbits(bits.ravel()).view(">u8")[0]
    return hashes


def without_near_duplicates(hashes: UInt64, features: Float32) -> Int64:
    """Drop near-duplicates.

    Parameters
    ----------
    hashes : uint64 (N,), of the pictures. features : float32 (N, D), rows of length 1.

    A cell is dropped if an earlier kept one looks the same to the eye (`HASH_BITS`) and to the
    network (`SAME_FEATURES`): either alone also holds for many different cells.

    Returns
    -------
    int64 (K,), kept rows, ascending.
    """
    kept: list[int] = []
    for row in range(len(hashes)):
        earlier = np.array(kept, dtype=np.int64)
        near = earlier[_differing_bits(hashes[earlier] ^ hashes[row]) <= HASH_BITS]
        if not bool((features[near] @ features[row] >= SAME_FEATURES).any()):
            kept.append(row)
    return np.array(kept, dtype=np.int64)


def _differing_bits(values: UInt64) -> Int64:
    bits = np.unpackbits(values[:, None].view(np.uint8), axis=1)
    return np.asarray(bits.sum(axis=1), dtype=np.int64)


def select_diverse(features: Float32, kinds: Sequence[Stratum], count: int) -> Int64:
    """Order cells so that the first n are a good choice of n cells, for any n.

    The next cell comes from a slide with fewest chosen cells so far, and there from the predicted
    class chosen least; among those it is the one farthest from all chosen before (k-centre
    greedy, Gonzalez 1985, Theor. Comput. Sci. 38:293), because extremes determine the
    ranges. The first is the one nearest to the mean.

    Parameters
    ----------
    features : float32 (N, D), rows of length 1. kinds : N entries. count : cells to choose.

    Returns
    -------
    int64 (min(count, N),), distinct rows.
    """
    chosen: list[int] = []
    away = np.linalg.norm(features - features.mean(axis=0), axis=1) * -1
    free: dict[str, dict[str, list[int]]] = {}
    for row, kind in enumerate(kinds):
        free.setdefault(kind.slide, {}).setdefault(kind.predicted, []).append(row)
    from_slide: Counter[str] = Counter()
    of_class: Counter[str] = Counter()
    while free and len(chosen) < count:
        slide = _least(free, from_slide, away)
        predicted = min(free[slide], key=lambda name: (of_class[name], name))
        rows = free[slide][predicted]
        row = rows[int(np.argmax(away[rows]))]
        distance = np.linalg.norm(features - features[row], axis=1)
        away = distance if not chosen else np.minimum(away, distance)
        chosen.append(row)
        from_slide[slide] += 1
        of_class[predicted] += 1
        rows.remove(row)
        if not rows:
            del free[slide][predicted]
        if not free[slide]:
            del free[slide]
    return np.array(chosen, dtype=np.int64)


def _least(
    free: dict[str, dict[str, list[int]]], taken: Counter[str], away: NDArray[np.floating]
) -> str:
    """Return the slide with fewest chosen cells; of several the one with the farthest cell."""
    fewest = min(taken[slide] for slide in free)
    slides = [slide for slide in free if taken[slide] == fewest]
    return max(
        slides, key=lambda slide: max(float(away[rows].max()) for rows in free[slide].values())
    )


def with_length_one(rows: Float32) -> Float32:
    """Scale every row to length 1, so that only directions matter; zero rows stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)
