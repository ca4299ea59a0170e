"""Draws the red cells of a field: 7.3 µm across, paler in the middle, some overlapping."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgeapl.sources.synthetic.shapes import Random, blob
from edgeapl.types import Float32

if TYPE_CHECKING:
    from edgeapl.sources.synthetic.smear import SlideRecipe

RED_CELL_UM = 7.3
STAMPS = 10
"""Different red cells per field; they are rotated, so that no two look alike."""


def draw_red_cells(recipe: SlideRecipe, random: Random) -> Float32:
    """Return a field of red cells as optical density, float32 (H, W, 3)."""
    canvas = np.zeros((recipe.height, recipe.width), dtype=np.float32)
    stamps = [_stamp(recipe.um_per_px, random) for _ in range(STAMPS)]
    field_um2 = recipe.width * recipe.height * recipe.um_per_px**2
    count = random.poisson(recipe.red_cells * field_um2 / (np.pi / 4 * RED_CELL_UM**2))
    for _ in range(count):
        stamp = np.rot90(stamps[int(random.integers(STAMPS))], int(random.integers(4)))
        side = len(stamp)
        x = int(random.integers(-side // 2, recipe.width - side // 2))
        y = int(random.integers(-side // 2, recipe.height - side // 2))
        rows, columns = slice(max(y, 0), y + side), slice(max(x, 0), x + side)
        under = canvas[rows, columns]
        top, left = max(-y, 0), max(-x, 0)
        part = stamp[top : top + under.shape[0], left : left + under.shape[1]]
        # Overlapping red cells absorb more, but spread thinner than two.
        canvas[rows, columns] = np.maximum(under, part) + 0.35 * np.minimum(under, part)
    return np.asarray(canvas[..., None] * recipe.stain.dyes["red_cell"], dtype=np.float32)


def _stamp(um_per_px: float, random: Random) -> Float32:
    radius = RED_CELL_UM / 2 * random.uniform(0.9, 1.1) / um_per_px
    side = int(2.6 * radius) + 4
    middle = (side / 2, side / 2)
    body = blob(side, middle, radius, random, wobble=0.03, stretch=random.uniform(1, 1.2))
    hollow = blob(side, middle, radius * random.uniform(0.3, 0.5), random, soft=radius / 2)
    hollow = np.asarray(cv2.GaussianBlur(hollow, (0, 0), max(radius / 5, 0.5)), np.float32)
    amount = random.uniform(0.8, 1.15)
    return np.asarray(amount * body * (1 - random.uniform(0.2, 0.7) * hollow), dtype=np.float32)
