"""The boxes that proposals start from (Ren et al. 2015, section 3.1.1)."""

from __future__ import annotations

import numpy as np

from edgeapl.types import Float32

SIZES = (32, 64, 128, 256, 512)
"""Side of the anchors on each level of the pyramid, px (Lin et al. 2017, section 4.1)."""

RATIOS = (0.5, 1.0, 2.0)
"""Height to width."""


def anchors(level: int, rows: int, columns: int, height: int, width: int) -> Float32:
    """Return the anchors of one level, laid out as torchvision does.

    Parameters
    ----------
    level : 0 to 4. rows, columns : size of the level's map. height, width : of the input, px.

    Returns
    -------
    float32 (rows * columns * 3, 4), x0 y0 x1 y1 px; ratio fastest, then column, then row. They
    may reach over the edge.
    """
    ratios = np.array(RATIOS)
    heights = np.sqrt(ratios) * SIZES[level]
    widths = SIZES[level] / np.sqrt(ratios)
    cell = np.round(np.stack([-widths, -heights, widths, heights], axis=1) / 2)
    x = np.arange(columns) * (width // columns)
    y = np.arange(rows) * (height // rows)
    shift_y, shift_x = (part.ravel() for part in np.meshgrid(y, x, indexing="ij"))
    shifts = np.stack([shift_x, shift_y, shift_x, shift_y], axis=1)
    return (shifts[:, None] + cell[None]).reshape(-1, 4).astype(np.float32)
