"""Grey reconstruction of many small images at once, side by side on shelves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from edgeapl.types import Float32

NEIGHBOURS = np.ones((3, 3), np.uint8)

_WIDTH = 512
"""Of a shelf, px, unless an image is wider: what is dilated again and again stays in the cache."""

_STEPS = 4
"""Dilations between two looks whether anything still changes."""


@dataclass(slots=True)
class Shelf:
    """Images of about the same height beside each other, 1 px apart so that none touches.

    height, width : px of all together. places : (number of the image, its left side) each.
    """

    height: int
    width: int = 0
    places: list[tuple[int, int]] = field(default_factory=list)


def reconstructed(markers: Sequence[Float32], limits: Sequence[Float32]) -> list[Float32]:
    """Raise each marker from its maxima up to its limit (Soille 2003, section 6.2).

    Parameters
    ----------
    markers, limits : float32 (h, w) of any sizes, not below 0, a marker nowhere above its limit.

    A shelf is dilated in place of each of its images: a call for one of them takes longer than its
    pixels.
    """
    found: dict[int, Float32] = {}
    for shelf in shelves([marker.shape for marker in markers]):
        raised = np.zeros((shelf.height, shelf.width), np.float32)
        limit = np.zeros_like(raised)
        places = {}
        for number, left in shelf.places:
            height, width = markers[number].shape
            place = places[number] = slice(height), slice(left, left + width)
            raised[place], limit[place] = markers[number], limits[number]
        raised = _raised(raised, limit)
        found.update((number, raised[place]) for number, place in places.items())
    return [found[number] for number in range(len(markers))]


def shelves(shapes: Sequence[tuple[int, ...]]) -> list[Shelf]:
    """Put images on shelves, the highest first. shapes : (height, width) each."""
    found: list[Shelf] = []
    for number in sorted(range(len(shapes)), key=lambda number: -shapes[number][0]):
        height, width = shapes[number]
        if not found or found[-1].width + 1 + width > _WIDTH:
            found.append(Shelf(height))
        shelf = found[-1]
        left = shelf.width + 1 if shelf.places else 0
        shelf.places.append((number, left))
        shelf.width = left + width
    return found


def _raised(raised: Float32, limit: Float32) -> Float32:
    changing = True
    while changing:
        before = raised
        for _ in range(_STEPS):
            raised = np.minimum(cv2.dilate(raised, NEIGHBOURS), limit)
        changing = not np.array_equal(raised, before)
    return raised
