"""Whether the frames, or the cells, of a slide come from two smears.

Pooled features mix all cells, so a few from another smear are lost among many. Smears
differ in stain, size or sharpness; then these numbers fall into two groups. The test is that of
Engelman and Hartigan (Percentage points of a test for clusters, Journal of the American
Statistical Association 64, 1969, 1647-1648): of all ways to cut the sorted numbers in two, take
the one that leaves the least variance within. For one normal population log(total / within) is
nearly normal, with mean -log(1 - 2/pi) + 2.4/(n - 2) and deviation (n - 2)^-1/2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgeapl.stages.domain import GROUP_WORDS
from edgeapl.stages.domain_fit import RESOLUTION
from edgeapl.stages.findings import Code, Effect, Finding
from edgeapl.stages.frame_descriptor import FrameDescriptor

Float64 = NDArray[np.float64]

GROUPS = {"light": 2, "stain": 4, "size": 1, "focus": 1}
"""The descriptors that are tested, and how many numbers each has."""

FALSE_ALARMS = 0.001
"""Share of slides of one normal population that may be taken for two, all numbers together.
Cells of several kinds are not normal: docs/pooling.md has what real slides of one smear give."""

FEWEST, SMALLEST_SHARE = 5, 0.1
"""Fewest frames or cells of a population: a stray one is none."""


def two_populations(frames: Sequence[FrameDescriptor]) -> tuple[Finding, ...]:
    """Return in what the frames fall into two groups; the finding bars CLEAR.

    Parameters
    ----------
    frames : of one slide; of images of one cell, those. An image in which no cell was found says
        nothing of stain and size and is not counted.
    """
    seen = [frame for frame in frames if frame.found]
    numbers = sum(GROUPS.values())
    worst: tuple[float, str, int] | None = None
    for group, columns in GROUPS.items():
        for column in range(columns):
            values = np.array([frame.values[group][column] for frame in seen])
            share, smaller = apart(values, RESOLUTION[group], FALSE_ALARMS / numbers)
            if share > 1 and (worst is None or share > worst[0]):
                worst = (share, group, smaller)
    if worst is None:
        return ()
    _, group, smaller = worst
    text = (
        f"{GROUP_WORDS[group]} falls into two groups, {smaller} and {len(seen) - smaller} images: "
        "these may be two smears, and the answer of the one may hide that of the other"
    )
    return (Finding(Code.TWO_POPULATIONS, text, Effect.BARS_CLEAR),)


def apart(values: Float64, resolution: float, false_alarms: float) -> tuple[float, int]:
    """Return the statistic over its limit, above 1 for two groups, and the size of the smaller.

    Parameters
    ----------
    values : float64 (N,), one measure of each frame.
    resolution : differences that say nothing; they are added to both variances.
    false_alarms : chance of a share above 1 when the values are one normal population.
    """
    count = len(values)
    least = max(FEWEST, math.ceil(SMALLEST_SHARE * count))
    if count < 2 * least:
        return 0.0, 0
    ordered = np.sort(values)
    below = np.arange(1, count)
    sums = np.cumsum(ordered)
    gap = sums[:-1] / below - (sums[-1] - sums[:-1]) / (count - below)
    between = below * (count - below) / count * gap**2
    # Both groups must be large enough.
    cut = least + int(between[least - 1 : count - least].argmax())
    total = float(((ordered - ordered.mean()) ** 2).sum())
    within = max(0.0, total - float(between[cut - 1]))
    floor = count * max(resolution, 1e-9) ** 2
    statistic = math.log((total + floor) / (within + floor))
    return statistic / limit(count, false_alarms), min(cut, count - cut)


def limit(count: int, false_alarms: float) -> float:
    """Return what the statistic of one normal population of this size exceeds by that chance."""
    z = NormalDist().inv_cdf(1 - false_alarms)
    return -math.log(1 - 2 / math.pi) + z / math.sqrt(count - 2) + 2.4 / (count - 2)
