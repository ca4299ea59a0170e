"""A slide in a few numbers: the medians of its frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.frame_descriptor import FrameDescriptor

Float64 = NDArray[np.float64]


def cells_of(frames: Sequence[FrameDescriptor]) -> int:
    """Count the cells that frames were described by."""
    return sum(frame.cells for frame in frames)


def describe_slide(frames: Sequence[FrameDescriptor]) -> dict[str, Float64]:
    """Return the median over the frames of a slide, each counted once per scored cell."""
    names = frames[0].values
    return {
        name: _weighted_median(
            np.stack([frame.values[name] for frame in frames]),
            np.array([frame.cells for frame in frames]),
        )
        for name in names
    }


def _weighted_median(rows: Float64, weights: NDArray[np.int64]) -> Float64:
    order = np.argsort(rows, axis=0, kind="stable")
    sums = np.cumsum(weights[order], axis=0)
    at = (sums >= sums[-1] / 2).argmax(axis=0)
    picked = np.take_along_axis(order, at[None], axis=0)
    return np.asarray(np.take_along_axis(rows, picked, axis=0)[0])
