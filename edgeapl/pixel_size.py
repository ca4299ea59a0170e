"""Settle how many µm one pixel is: as stated, else measured from the red cells, else assumed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from edgeapl.errors import InputError
from edgeapl.sources.decode import read_images
from edgeapl.stages.find_disc import find_disc
from edgeapl.stages.segment import Evidence, measure_scale
from edgeapl.types import ScaleOrigin, UInt8

ScaleFor = Callable[[UInt8], tuple[float, ScaleOrigin]]

MEASUREMENTS = 5
"""Fields measured before the scale is fixed: one smear is seen through one objective."""

TRIES = 20
"""Fields tried at most; measuring one takes 0.1 to 0.4 s."""


class SlideScale:
    """Returns the scale for the frames of one slide, in order.

    The first fields are measured one by one, and every answer is the median so far; after
    `MEASUREMENTS` of them it is fixed. Fields that cannot be measured do not change it. A
    measurement from many red cells takes precedence over one from few, and that over one from
    nuclei.

    Parameters
    ----------
    stated : µm per px if stated, else None.
    assumed : µm per px to fall back on, the bundle's own.
    """

    def __init__(self, stated: float | None, assumed: float) -> None:
        self._stated = stated
        self._assumed = assumed
        self._measured: dict[Evidence, list[float]] = {kind: [] for kind in Evidence}
        self._tries = 0

    def __call__(self, pixels: UInt8) -> tuple[float, ScaleOrigin]:
        """Return the scale of an image, uint8 (H, W, 3) RGB, in µm per px, and its origin."""
        if self._stated is not None:
            return self._stated, ScaleOrigin.STATED
        if not self.settled:
            self.measure(pixels)
        for evidence in sorted(Evidence, reverse=True):
            if self._measured[evidence]:
                whole = evidence is Evidence.RED_CELLS
                origin = ScaleOrigin.MEASURED if whole else ScaleOrigin.ESTIMATED
                return median(self._measured[evidence]), origin
        return self._assumed, ScaleOrigin.ASSUMED

    @property
    def settled(self) -> bool:
        """Whether measuring more images would no longer change the scale."""
        enough = len(self._measured[Evidence.RED_CELLS]) >= MEASUREMENTS or self._tries >= TRIES
        return self._stated is not None or enough

    def measure(self, pixels: UInt8) -> None:
        """Take one image into account, e.g. some of a folder's before its first is examined."""
        if self._stated is None:
            self._tries += 1
            disc = find_disc(pixels)
            estimate = measure_scale(pixels if disc is None else pixels[disc.core])
            if estimate is not None:
                self._measured[estimate.evidence].append(estimate.um_per_px)


def measure_ahead(scale: SlideScale, files: Sequence[Path]) -> None:
    """Measure the scale on images spread over the slide, so that the whole slide has one scale."""
    step = max(1, math.ceil(len(files) / MEASUREMENTS))
    for file in files[::step]:
        if scale.settled:
            return
        try:
            scale.measure(read_images(file)[0]().pixels)
        except InputError:
            continue  # it is reported when its turn comes
