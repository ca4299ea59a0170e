"""Whether a frame was blurred by motion during exposure.

Motion smears edges that lie across it and leaves those along it sharp, so the slopes of a moved
frame lean to one direction, while cells, being round, have edges in all. The measure is the ratio
of the eigenvalues of the structure tensor (Foerstner and Guelch 1987) over the steepest slopes.
"""

from __future__ import annotations

import numpy as np

from edgeapl.stages.focus import Edges, edges_and_ground
from edgeapl.types import Float32, UInt8

EVEN = 1.0
"""Equal slopes in all directions; also the value of a frame without any edge."""


def evenness(pixels: UInt8, um_per_px: float) -> float:
    """Return how evenly the edges of a frame, uint8 (H, W, 3) RGB, face all directions."""
    return evenness_of(Edges(pixels, um_per_px))


def evenness_of(edges: Edges) -> float:
    """Return how evenly edges face all directions, 0 to 1.

    441 real frames of eight sets give 0.33 or more. The same moved by 3 µm give 0.16 or less in
    five sets, 0.38 and 0.60 in the two whose frames are large or coarse; moved by 6 µm 0.16 or
    less, and 0.34 in the coarse one.
    """
    across, down = edges.slopes
    is_edge, is_flat = edges_and_ground(edges.squared)
    # What is found on plain ground is noise, and the edges carry as much of it.
    tensor = _tensor(across, down, is_edge) - _tensor(across, down, is_flat)
    least, most = np.linalg.eigvalsh(tensor)
    return EVEN if most <= 0 else float(max(0.0, least) / most)


def _tensor(across: Float32, down: Float32, chosen: np.ndarray) -> np.ndarray:
    x, y = across[chosen].astype(np.float64), down[chosen].astype(np.float64)
    # Not by `@`: for sums of this length it wakes threads that wait in a loop, on both cores.
    xx, xy, yy = (float(np.einsum("i,i", one, other)) for one, other in ((x, x), (x, y), (y, y)))
    return np.array([[xx, xy], [xy, yy]]) / len(x)
