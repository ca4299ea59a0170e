"""Settle how many µm one pixel is: stated, else measured from the red cells, else assumed."""

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
"""Fields that are measured before the scale is held: one smear is seen through one objective."""

TRIES = 20
"""Fields looked at for that, at most; measuring one takes 0.1 to 0.4 s."""


class SlideScale:
    """Gives the scale for the frames of one slide, in order.

    The first fields are measured one by one; every answer is the median so far, and after
    `MEASUREMENTS` of them it is held. Fields that can not be measured leave it as it is, and
    many red cells are believed before few, and these before nuclei.

    Parameters
    ----------
    stated : µm per px if somebody said so, else None.
    assumed : µm per px to fall back on, the bundle's own.
    """

    def __init__(self, stated: float | None, assumed: float) -> None:
        self._stated = stated
        self._assumed = assumed
        self._measured: dict[Evidence, list[float]] = {kind: [] for kind in Evidence}
        self._tries = 0

    def __call__(self, pixels: UInt8) -> tuple[float, ScaleOrigin]:
        """Give µm per px for an image, uint8 (H, W, 3) RGB, and where it comes from."""
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
        """Whether measuring more images would change nothing."""
        enough = len(self._measured[Evidence.RED_CELLS]) >= MEASUREMENTS or self._tries >= TRIES
        return self._stated is not None or enough

    def measure(self, pixels: UInt8) -> None:
        """Take one image into account, e.g. some of a folder before its first is examined."""
        if self._stated is None:
            self._tries += 1
            disc = find_disc(pixels)
            estimate = measure_scale(pixels if disc is None else pixels[disc.core])
            if estimate is not None:
                self._measured[estimate.evidence].append(estimate.um_per_px)


def measure_ahead(scale: SlideScale, files: Sequence[Path]) -> None:
    """Measure the scale on images spread over the slide, so that all of it gets one scale."""
    step = max(1, math.ceil(len(files) / MEASUREMENTS))
    for file in files[::step]:
        if scale.settled:
            return
        try:
            scale.measure(read_images(file)[0]().pixels)
        except InputError:
            continue  # it will be reported when its turn comes
