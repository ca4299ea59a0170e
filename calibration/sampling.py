"""Samples spread evenly over a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")


def evenly_spaced(items: Sequence[_T], most: int) -> list[_T]:
    """Return at most `most` items, spread over all of them, in their order."""
    if not items:
        return []
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places.tolist()]


def spread_order(items: Sequence[_T]) -> list[_T]:
    """Return the items in an order of which every prefix is spread over all of them."""
    bits = max(1, (len(items) - 1).bit_length())
    reverse = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(2**bits))
    return [items[place] for place in reverse if place < len(items)]
