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


DENSITY_RANGE = (-float(np.log10(2)), 2.0)
"""Optical densities are kept within: twice as bright as the background, a hundredth of it."""

_LOG10: Float32 = np.log10(np.arange(256, dtype=np.float64) + 1).astype(np.float32)
"""Of every grey level and one."""


def optical_density(pixels: NDArray[np.uint8]) -> Float32:
    """Return the decadic optical density against the fitted background.

    Parameters
    ----------
    pixels : uint8 (H, W, 3) RGB.

    Returns
    -------
    float32 (3, H, W), planes R G B; 0 is empty background, above 0 is stain.
    """
    height, width = pixels.shape[:2]
    grounds = _fitted(pixels) * np.float32(np.log10(np.e))
    densities = np.empty((3, height, width), dtype=np.float32)
    for colour, (ground, density) in enumerate(zip(grounds, densities, strict=True)):
        cv2.resize(ground, (width, height), dst=density, interpolation=cv2.INTER_LINEAR)
        plane = cv2.LUT(cv2.extractChannel(pixels, colour), _LOG10)
        cv2.subtract(density, plane, dst=density)
        np.clip(density, *DENSITY_RANGE, out=density)
    return densities


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
    ground = np.exp(np.moveaxis(_fitted(pixels), 0, 2)) - 1
    return np.asarray(
        cv2.resize(ground, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32
    )


def _fitted(pixels: NDArray[np.uint8]) -> Float32:
    """Fit a surface through the log brightness of each colour: float32 (3, h, w), small."""
    height, width = pixels.shape[:2]
    shrink = GRID_PX / max(height, width)
    size = (max(8, round(width * shrink)), max(8, round(height * shrink)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    logs = np.log(np.moveaxis(small, 2, 0).astype(np.float64) + 1)
    surface = _Surface(size[1], size[0], _degree(max(height, width)))
    return surface.quantile_fit(logs).astype(np.float32)


def _degree(side: int) -> int:
    """Return the degree for an image of this longer side, px: a crop shows no whole vignette."""
    return next(degree for smallest, degree in DEGREES if side >= smallest)


class _Surface:
    """Products of Chebyshev polynomials T_i(x) T_j(y), i + j up to a degree, on a grid.

    T_i T_k is half of T_{i+k} + T_|i-k|, so the sums of products that a weighted fit needs are
    sums of moments up to twice the degree, and these take two small matrix products.
    """

    def __init__(self, height: int, width: int, degree: int) -> None:
        self._x = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, width), 2 * degree)
        self._y = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, height), 2 * degree)
        pairs = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
        self._i, self._j = np.array(pairs).T
        self._terms = degree + 1
        i, j = self._i, self._j
        i_sum, i_gap = i[:, None] + i, np.abs(i[:, None] - i)
        j_sum, j_gap = j[:, None] + j, np.abs(j[:, None] - j)
        across = 2 * degree + 1
        self._at_sums = np.stack(
            [j_sum * across + i_sum, j_sum * across + i_gap, j_gap * across + i_sum,
             j_gap * across + i_gap]
        )  # fmt: skip
        self._penalty = np.diag(RIDGE * (self._i + self._j).astype(np.float64) ** 2)

    def quantile_fit(self, values: Float64) -> Float64:
        """Quantile regression by iteratively reweighted least squares (Koenker 2005, ch. 6).

        values : float64 (N, h, w). Returns N surfaces of the same shape.
        """
        level = np.quantile(values, QUANTILE, axis=(1, 2), keepdims=True)
        fitted = np.broadcast_to(level, values.shape)
        for _ in range(ITERATIONS):
            rest = values - fitted
            pull = np.where(rest > 0, QUANTILE, 1 - QUANTILE)
            pull /= np.maximum(np.abs(rest), SMALLEST_RESIDUAL)
            sums = self._moments(pull * values)[:, self._j, self._i]
            weights = np.linalg.solve(self._products(pull) + self._penalty, sums[..., None])
            fitted = self._at(np.asarray(weights[..., 0], dtype=np.float64))
        return fitted

    def _moments(self, values: Float64) -> Float64:
        """Sum values T_i(x) T_j(y) over the grid; of (N, h, w) row j, column i of each."""
        return np.asarray(self._y.T @ (values @ self._x), dtype=np.float64)

    def _products(self, values: Float64) -> Float64:
        """Sum values, (N, h, w), times the products of each two terms."""
        moments = self._moments(values).reshape(len(values), -1)
        return np.asarray(moments[:, self._at_sums].sum(axis=1) / 4)

    def _at(self, weights: Float64) -> Float64:
        """Return the surfaces of some weights, (N, terms)."""
        square = np.zeros((len(weights), self._terms, self._terms))
        square[:, self._j, self._i] = weights
        return np.asarray(self._y[:, : self._terms] @ square @ self._x[:, : self._terms].T)
