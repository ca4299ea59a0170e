"""Remove uneven, coloured illumination: fit the empty background and give optical densities.

The background of a smear is its brightest part, but in a crowded field only a small share of the
pixels. A quantile regression of a smooth surface through log brightness finds it without masks:
most pixels may be darker (cells), few may be brighter (specks).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Float32

Float64 = NDArray[np.float64]

QUANTILE = 0.85
"""Share of pixels that may lie below the background. 15 % of free background are enough; bright
specks cover far less."""

DEGREES = ((400, 4), (200, 2), (0, 1))
"""Longer side from which, px, and degree of the surface. Vignetting follows cos^4 of the field
angle (Kingslake 1965); a small cut-out shows part of it, and one cell must not look like it."""

GRID_PX = 80
"""Longer side of the small image that is fitted; the surface has no detail to lose."""

RIDGE = 0.3
"""Keeps high orders small where cells leave little background to fit."""

ITERATIONS = 12
"""Reweighted least squares; the median change is under 0.1 % after ten."""

SMALLEST_RESIDUAL = 0.02
"""Residuals below this, in log units, count alike: camera noise."""


def optical_density(pixels: NDArray[np.uint8]) -> Float32:
    """Give the decadic optical density against the fitted background.

    Parameters
    ----------
    pixels : uint8 (H, W, 3) RGB.

    Returns
    -------
    float32 (H, W, 3) in R G B order; 0 is empty background, above 0 is stain.
    """
    ground = background(pixels)
    ratio = (pixels.astype(np.float32) + 1) / (ground + 1)
    return np.asarray(-np.log10(np.clip(ratio, 0.01, 2)), dtype=np.float32)


def background(pixels: NDArray[np.uint8]) -> Float32:
    """Fit the brightness that every pixel would have without a cell.

    Parameters
    ----------
    pixels : uint8 (H, W, 3) RGB.

    Returns
    -------
    float32 (H, W, 3), 0 to 255.
    """
    height, width = pixels.shape[:2]
    shrink = GRID_PX / max(height, width)
    size = (max(8, round(width * shrink)), max(8, round(height * shrink)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    surfaces, orders = _surfaces(size[1], size[0], _degree(max(height, width)))
    penalty = np.diag(RIDGE * orders**2)
    logs = np.log(small.astype(np.float64) + 1).reshape(-1, 3)
    fitted = np.stack(
        [surfaces @ _quantile_fit(surfaces, logs[:, c], penalty) for c in range(3)], axis=-1
    )
    ground = np.exp(fitted).reshape(size[1], size[0], 3) - 1
    return np.asarray(
        cv2.resize(ground.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR),
        dtype=np.float32,
    )


def _degree(side: int) -> int:
    """Give the degree for an image of this longer side, px: a cut-out shows no whole vignette."""
    return next(degree for smallest, degree in DEGREES if side >= smallest)


def _surfaces(height: int, width: int, degree: int) -> tuple[Float64, Float64]:
    """Chebyshev products up to a degree: float64 (H * W, terms), and the order of each term."""
    x = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, width), degree)
    y = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, height), degree)
    pairs = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    columns = [np.outer(y[:, j], x[:, i]).ravel() for i, j in pairs]
    return np.stack(columns, axis=-1), np.array([i + j for i, j in pairs], dtype=np.float64)


def _quantile_fit(surfaces: Float64, values: Float64, penalty: Float64) -> Float64:
    """Quantile regression by iteratively reweighted least squares (Koenker 2005, ch. 6)."""
    weights: Float64 = np.zeros(surfaces.shape[1])
    weights[0] = np.quantile(values, QUANTILE)
    for _ in range(ITERATIONS):
        rest = values - surfaces @ weights
        pull = np.where(rest > 0, QUANTILE, 1 - QUANTILE) / np.maximum(
            np.abs(rest), SMALLEST_RESIDUAL
        )
        pulled = surfaces * pull[:, None]
        weights = np.asarray(np.linalg.solve(surfaces.T @ pulled + penalty, pulled.T @ values))
    return weights
