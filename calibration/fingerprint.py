"""What the slides of the set look like, so that the station notices different ones."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from edgeapl.calibration.cells import SlideSeen
from edgeapl.stages.detail import detail_from
from edgeapl.stages.domain import FEWEST_CELLS
from edgeapl.stages.domain_fit import fit_domain_model_to_few
from edgeapl.stages.slide_descriptor import describe_slide

FILE = "domain.npz"

FEWEST_SLIDES = 5
"""Below this the limits of `fit_domain_model_to_few` are too wide to notice anything."""

SOUND_SLIDES = 10
"""From here on the limits are within a quarter of those of very many slides."""

FOCUS_OUTLIERS, FOCUS_MARGIN = 0.05, 0.8
"""The least sharp twentieth of the images does not count, and a frame may be a fifth less sharp
than the rest: the edges of the same cells get that much wider by the finest turn of a knob.
"""


DETAIL_OUTLIERS, DETAIL_MARGIN = 0.01, 0.2
"""The same for the detail of images of single cells, `edgeapl.stages.detail.detail_of`, which a
blur of 1 px reduces by 0.8. It differs more between single cells of one system than between slides.
"""


class Strength(str, Enum):
    """How informative the fingerprint is."""

    NONE = "none"
    WEAK = "weak"
    SOUND = "sound"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The fitted statistics.

    slides : names of the slides it was fitted on. data : bytes of the .npz file; None if there were
    too few slides.
    min_focus : lower limit of a frame's focus measure for the station's gate; None if there were
        too few slides.
    min_detail : the same for the detail of images of single cells; None also if there were none.
    """

    slides: tuple[str, ...]
    data: bytes | None
    min_focus: float | None = None
    min_detail: float | None = None

    @property
    def strength(self) -> Strength:
        """How informative it is."""
        if self.data is None:
            return Strength.NONE
        return Strength.SOUND if len(self.slides) >= SOUND_SLIDES else Strength.WEAK


def fingerprint(slides: Sequence[SlideSeen]) -> Fingerprint:
    """Fit the statistics on slides with enough cells to describe them."""
    usable = [slide for slide in slides if _cells(slide) >= FEWEST_CELLS]
    names = tuple(slide.name for slide in usable)
    if len(usable) < FEWEST_SLIDES:
        return Fingerprint(names, None)
    file = io.BytesIO()
    fit_domain_model_to_few([describe_slide(slide.frames) for slide in usable]).save(file)
    return Fingerprint(names, file.getvalue(), _min_focus(usable), _min_detail(usable))


def _min_focus(slides: Sequence[SlideSeen]) -> float | None:
    """Return the focus measure below which only outliers and noise of the set lie."""
    frames = [frame.values for slide in slides for frame in slide.frames]
    widths = [values["focus"][0] for values in frames if "focus" in values]
    if not widths:
        return None
    sharpness = np.exp(-np.array(widths))
    return round(float(FOCUS_MARGIN * np.quantile(sharpness, FOCUS_OUTLIERS)), 2)


def _min_detail(slides: Sequence[SlideSeen]) -> float | None:
    """Return the detail below which only outliers among the set's single-cell images lie."""
    frames = [frame.values for slide in slides for frame in slide.frames]
    details = [detail_from(values["detail"]) for values in frames if "detail" in values]
    if not details:
        return None
    return round(float(np.quantile(details, DETAIL_OUTLIERS)) - DETAIL_MARGIN, 2)


def _cells(slide: SlideSeen) -> int:
    return sum(frame.cells for frame in slide.frames)
