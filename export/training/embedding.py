"""Where cells lie in the space of a network's features, seen from two sides (PCA)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Float32

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Cells as points.

    points : float64 (N, 2). shares : of the features' variance that each axis shows, 0 to 1.
    """

    points: Float64
    shares: tuple[float, float]


def embed(features: Float32) -> Embedding:
    """Return features, (N, D), along their two main axes (Pearson 1901).

    The sign of an axis is that of its largest component, so that the same features give the same
    picture. Of fewer than two cells, or of cells that are all alike, every point is at 0.
    """
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    if len(features) < 2 or not centred.any():
        return Embedding(np.zeros((len(features), 2)), (0.0, 0.0))
    # From the smaller of both products: features may be many more than cells.
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    axes = right[:2]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    points = left[:, :2] * values[:2] * signs
    if points.shape[1] < 2:
        points = np.column_stack([points, np.zeros(len(points))])
    shares = values**2 / (values**2).sum()
    return Embedding(points, (float(shares[0]), float(shares[1]) if len(shares) > 1 else 0.0))
