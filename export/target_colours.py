"""The colours that a bundle brings cells to: those of images like the training's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeapl.bundle.specs import NO_COLOURS
from edgeapl.errors import ConfigError, InputError
from edgeapl.export.proof_images import ProofImages, real_frames
from edgeapl.protocols import Segmenter
from edgeapl.stages.colour_transfer import cell_colours, spreads
from edgeapl.stages.whole_image import whole_crop
from edgeapl.types import Colours, Frame

MOST_FRAMES, MOST_CELL_IMAGES = 32, 400
"""Images that are looked at: medians hardly change by more."""

REINHARD = "reinhard"


def check_colours(recipe: str, crop: Mapping[str, Any], images: ProofImages | None) -> None:
    """Raise ConfigError when a recipe moves colours and nothing says where to."""
    if crop.get("colour_transfer") and "colours" not in crop and images is None:
        mend = "give such images with --colours FOLDER, or write mean and deviation as colours"
        raise ConfigError(NO_COLOURS, recipe, mend)


def moved_to(
    images: ProofImages,
    segmenter: Segmenter,
    *,
    leave_out: Sequence[str],
    assumed_um_per_px: float,
) -> dict[str, Any]:
    """Measure the cells of images, and return the settings of a crop that is brought to them.

    Means and deviations are the medians over the images, so that no single one decides.
    leave_out, assumed_um_per_px : of `real_frames`.

    Raises InputError when no image shows a cell with a spread of colours.
    """
    single = images.cell_images
    most = MOST_CELL_IMAGES if single else MOST_FRAMES
    frames = real_frames(images, most, leave_out=leave_out, assumed_um_per_px=assumed_um_per_px)
    found = [
        colours
        for frame in frames
        if (colours := _colours(frame, segmenter, single=single)) is not None
    ]
    if not found:
        mend = "give images with stained cells with --colours"
        raise InputError("no cell with a spread of colours was found", images.folder, mend)
    mean = np.median([one.mean for one in found], axis=0)
    deviation = np.median([one.deviation for one in found], axis=0)
    wanted = {
        "mean": [round(float(value), 5) for value in mean],
        "deviation": [round(float(value), 5) for value in deviation],
    }
    return {"colour_transfer": REINHARD, "colours": wanted}


def _colours(frame: Frame, segmenter: Segmenter, *, single: bool) -> Colours | None:
    found = whole_crop(frame, segmenter) if single else segmenter.segment(frame)
    if single and not found.scores[0] > 0:
        return None  # the whole image would count as the cell
    colours = cell_colours(found)
    return colours if colours is not None and spreads(colours) else None
