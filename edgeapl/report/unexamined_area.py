"""Marks the parts of a frame that were not examined."""

from __future__ import annotations

import cv2
import numpy as np

from edgeapl.types import Tiles, TileState, UInt8
from edgeapl.wording.numbers import percent

HATCH_PX = 14
"""Distance of the hatching lines, px."""

COLOUR = (222, 60, 140)
"""A colour of neither stain nor light, visible on black, white and grey."""

VEIL = 0.35


def shade(picture: UInt8, tiles: Tiles | None) -> None:
    """Hatch and outline the unexamined parts in a picture of the frame."""
    if tiles is None:
        return
    size = (picture.shape[1], picture.shape[0])
    seen = np.isin(tiles.states, (TileState.EXAMINED.value, TileState.OUTSIDE.value))
    if seen.all():
        return
    lost = (~seen).astype(np.uint8)
    inside = np.asarray(cv2.resize(lost, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    y, x = np.ogrid[: size[1], : size[0]]
    lines = (inside > 0) & ((x + y) % HATCH_PX < 2)
    veiled = (1 - VEIL) * picture[inside > 0] + VEIL * np.array(COLOUR)
    picture[inside > 0] = veiled.astype(np.uint8)
    picture[lines] = COLOUR
    around, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, around, -1, COLOUR, 2)


def lost_parts(tiles: Tiles | None) -> str:
    """Return what could not be examined, like ``30.7 % is dark``; empty when nothing was lost."""
    shares = {} if tiles is None else tiles.shares()
    shares.pop(TileState.EXAMINED, None)
    worst = sorted(shares, key=lambda state: -shares[state])
    return ", ".join(f"{percent(shares[state])} is {state.text}" for state in worst)
