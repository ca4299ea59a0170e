"""Draws one nucleated cell as a patch of optical density."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgeapl.sources.synthetic.cell_types import CellType
from edgeapl.sources.synthetic.shapes import (
    SOFT_UM,
    Random,
    blob,
    nucleus_mask,
    rods,
    specks,
    texture,
)
from edgeapl.sources.synthetic.stain import Stain
from edgeapl.types import Float32


@dataclass(frozen=True, slots=True, eq=False)
class DrawnCell:
    """A patch to be laid into a frame.

    density : float32 (S, S, 3), optical densities R G B. mask : float32 (S, S), the cell's area.
    auer_rods : whether any was drawn.
    """

    density: Float32
    mask: Float32
    auer_rods: bool


def draw_cell(kind: CellType, stain: Stain, um_per_px: float, random: Random) -> DrawnCell:
    """Draw a cell of this type with random size, shape and stain."""
    radius = random.uniform(*kind.diameter) / 2 / um_per_px
    side = int(2 * radius * 1.35) + 8
    soft = max(1.0, SOFT_UM / um_per_px)
    middle = (side / 2 + random.uniform(-1, 1), side / 2 + random.uniform(-1, 1))
    cell = blob(side, middle, radius, random, stretch=random.uniform(1, 1.2), soft=soft)
    share = random.uniform(*kind.nucleus)
    free = radius * (1 - share) * random.uniform(*kind.eccentric)
    turn = random.uniform(0, 2 * np.pi)
    at = (middle[0] + free * np.cos(turn), middle[1] + free * np.sin(turn))
    nucleus = nucleus_mask(side, at, radius * share, kind.shape, random, soft)
    nucleus = np.asarray(nucleus * np.maximum(cell, 0.2), dtype=np.float32)

    density = _cytoplasm(kind, cell, stain, um_per_px, random)
    density = _lay(density, nucleus, _nucleus(kind, nucleus, stain, um_per_px, random))
    has_rods = bool(random.uniform() < kind.auer_share)
    plasm = np.asarray(cell * (1 - nucleus), dtype=np.float32)
    density += _granules(kind, cell, plasm, stain, um_per_px, random)
    if has_rods:
        count = int(random.integers(kind.auer_rods[0], kind.auer_rods[1] + 1))
        drawn = rods(plasm, count, um_per_px, random)
        has_rods = bool((drawn > 0.5).sum() * um_per_px**2 > 0.5)
        density = _lay(density, drawn, 1.35 * stain.dyes["azurophil"])
    whole = np.maximum(cell, nucleus)
    return DrawnCell(np.asarray(density, dtype=np.float32), whole, has_rods)


def _lay(below: Float32, mask: Float32, above: Float32) -> Float32:
    return np.asarray(below * (1 - mask[..., None]) + mask[..., None] * above, dtype=np.float32)


def _cytoplasm(
    kind: CellType, cell: Float32, stain: Stain, um_per_px: float, random: Random
) -> Float32:
    side = len(cell)
    blue = random.uniform(*kind.basophilia)
    pink = random.uniform(*kind.acidophilia)
    grain = 1 + 0.12 * texture(side, 1.5 / um_per_px, random)
    colour = blue * stain.dyes["basophil"] + pink * stain.dyes["acidophil"]
    return np.asarray((cell * grain)[..., None] * colour, dtype=np.float32)


def _nucleus(
    kind: CellType, nucleus: Float32, stain: Stain, um_per_px: float, random: Random
) -> Float32:
    side = len(nucleus)
    clumps = random.uniform(*kind.clumps)
    grain = 1 + (0.06 + 0.2 * clumps) * texture(side, (0.5 + 0.9 * clumps) / um_per_px, random)
    pale = np.zeros_like(nucleus)
    for _ in range(int(random.integers(kind.nucleoli[0], kind.nucleoli[1] + 1))):
        pale += specks(nucleus, 1, (1.2 / um_per_px, 2.4 / um_per_px), random)
    blur = max(0.4 / um_per_px, 0.5)
    pale = np.asarray(cv2.GaussianBlur(np.minimum(pale, 1), (0, 0), blur), dtype=np.float32)
    amount = random.uniform(*kind.chromatin) * np.clip(grain, 0.3, 1.7) * (1 - 0.4 * pale)
    return np.asarray(amount[..., None] * stain.dyes["nucleus"], dtype=np.float32)


def _granules(
    kind: CellType, cell: Float32, plasm: Float32, stain: Stain, um_per_px: float, random: Random
) -> Float32:
    count = int(random.integers(kind.granules[0], kind.granules[1] + 1))
    size = (kind.granule[0] / um_per_px, kind.granule[1] / um_per_px)
    dye = stain.dyes["nucleus" if kind.granule_stain == "basophil" else kind.granule_stain]
    # Heavy granulation covers the nucleus as well.
    place = cell if kind.granule_stain == "basophil" else plasm
    drawn = specks(np.asarray(place, dtype=np.float32), count, size, random)
    if kind.granule_stain == "azurophil" and count > 150:
        drawn = np.maximum(drawn, 0.4 * specks(cell, count // 4, size, random))
    return np.asarray(random.uniform(0.6, 1.0) * drawn[..., None] * dye, dtype=np.float32)
