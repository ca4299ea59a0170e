"""A Romanowsky stain in optical densities, varied between slides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]

# Optical densities R G B at amount 1, taken from published colours of the dyes on smears.
TYPICAL = {
    "nucleus": (0.36, 0.56, 0.13),  # azure B with eosin on chromatin: purple
    "basophil": (0.34, 0.30, 0.08),  # azure B on RNA: blue
    "acidophil": (0.05, 0.20, 0.12),  # eosin on protein: pink
    "azurophil": (0.25, 0.62, 0.16),  # azurophilic granules and Auer rods: magenta
    "eosin": (0.06, 0.34, 0.36),  # eosinophil granules: orange
    "red_cell": (0.05, 0.22, 0.17),  # haemoglobin with eosin
}


@dataclass(frozen=True, slots=True)
class Stain:
    """One slide's stain: dye name to optical densities float32 (3,), R G B."""

    dyes: dict[str, Vector]
    background: Vector


def draw_stain(random: np.random.Generator) -> Stain:
    """Vary strength, hue and the colour of the empty field as between laboratories."""
    strength = random.uniform(0.7, 1.3)
    tint = random.normal(0, 0.10, 3)
    dyes = {
        name: np.asarray(
            np.clip(
                np.array(density) * strength * (1 + tint + random.normal(0, 0.07, 3)), 0.01, 1.2
            ),
            dtype=np.float32,
        )
        for name, density in TYPICAL.items()
    }
    white = random.uniform(205, 245) * (1 + random.normal(0, 0.03, 3))
    return Stain(dyes, np.asarray(np.clip(white, 150, 252), dtype=np.float32))
