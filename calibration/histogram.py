"""Counts of values in even steps, for percentiles of more values than fit into memory."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.types import Float32

BINS = 8192
"""Steps over the whole reach. The reach is at most twice the largest value, so a step is at most
1/2048 of it: an eighth of a step of eight bits."""

_FIRST_REACH = 2.0**-60


class Histogram:
    """Counts float32 values from -reach to reach; the reach doubles when a value exceeds it.

    low, high : smallest and largest value so far, exact.
    """

    def __init__(self) -> None:
        self.low = np.inf
        self.high = -np.inf
        # Of the counted values.
        self._lowest, self._highest = np.inf, -np.inf
        self._reach = _FIRST_REACH
        self._counts: NDArray[np.int64] = np.zeros(BINS, dtype=np.int64)

    def add(self, values: Float32, *, counted: bool = True) -> None:
        """Add values of any shape; with `counted` off only the smallest and largest are kept.

        Raises ValueError when a value is not finite.
        """
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError("a value is not finite")
        self.low, self.high = min(self.low, low), max(self.high, high)
        if not counted:
            return
        while max(-low, high) >= self._reach:
            self._double()
        self._lowest, self._highest = min(self._lowest, low), max(self._highest, high)
        row = np.ascontiguousarray(values).reshape(1, -1)
        edges = [-self._reach, self._reach]
        # Counts come as float32, exact up to 2^24 per call; the sum is kept in integers.
        counts = cv2.calcHist([row], [0], None, [BINS], edges)
        self._counts += np.asarray(counts, dtype=np.float64).ravel().astype(np.int64)

    def percentile(self, kept: float) -> tuple[float, float]:
        """Return the range that keeps this percentage of the values, cut evenly on both sides.

        As defined by onnxruntime's percentile calibrator, to one step.
        """
        if kept == 100:
            return self._lowest, self._highest
        below = np.cumsum(self._counts)
        cut = (100 - kept) / 200 * below[-1]
        step = 2 * self._reach / BINS
        left = -self._reach + step * int(np.searchsorted(below, cut, side="right"))
        right = -self._reach + step * (int(np.searchsorted(below, below[-1] - cut)) + 1)
        # A value on the edge of a step may be counted in the next one.
        left = min(max(left, self.low), self.high)
        return left, max(min(right, self.high), left)

    def _double(self) -> None:
        """Merge the counts into steps of twice the width."""
        pairs = self._counts.reshape(-1, 2).sum(axis=1)
        self._counts = np.zeros(BINS, dtype=np.int64)
        self._counts[BINS // 4 : BINS // 4 + BINS // 2] = pairs
        self._reach *= 2
