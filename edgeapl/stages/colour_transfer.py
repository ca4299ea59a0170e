"""Bring the colours of a frame's cells to those of the images that a model was trained on.

Reinhard et al. 2001: in a space whose axes are nearly independent (logarithms of the cones'
responses, turned), mean and deviation are brought to the wanted ones. Logarithms are natural here;
their base does not change the result.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.colour_space import (
    AXES,
    CONES,
    FROM_AXES,
    FROM_CONES,
    GREYS,
    MOST_LOGARITHM,
)
from edgeapl.bundle.specs import ColoursSpec, CropSpec
from edgeapl.errors import InputError
from edgeapl.stages.frame_descriptor import DESCRIBED_SIDE_PX
from edgeapl.types import Colours, Detections, Float32, Frame, Reason, UInt8

Float64 = NDArray[np.float64]

LEAST_DEVIATION = 0.002
"""On any axis, below which nothing but noise would be spread out. The least in a frame of
chula_wbc, bccd and draaslan is 0.005; a grey image in which every colour is off by one grey value
at random has 0.0014."""

FEWEST_PIXELS = 256
"""With fewer in the thinned image, every pixel is looked at."""

NO_SPREAD = "the cells have no spread of colour that could be brought to the model's"


def to_axes(pixels: UInt8) -> Float64:
    """Return pixels, uint8 (..., 3) RGB, on the three axes, float64 (..., 3)."""
    return np.asarray(np.log((pixels + 1.0) / GREYS @ CONES.T) @ AXES.T)


def colours_of(pixels: UInt8) -> Colours:
    """Return the colours of pixels, uint8 (N, 3) RGB, N at least 1."""
    values = to_axes(pixels)
    return Colours(
        np.asarray(values.mean(axis=0), np.float32), np.asarray(values.std(axis=0), np.float32)
    )


def cell_colours(found: Detections) -> Colours | None:
    """Return the colours of the cells of a frame, all together; None where no cell is.

    As for the look of a frame, a thinned image does (`DESCRIBED_SIDE_PX`), unless it shows too
    little of the cells.
    """
    frame = found.frame
    step = max(1, max(frame.height, frame.width) // DESCRIBED_SIDE_PX)
    for every in (step, 1):
        inside = frame.pixels[::every, ::every][found.labels[::every, ::every] > 0]
        if len(inside) >= FEWEST_PIXELS:
            break
    return colours_of(inside) if len(inside) else None


def with_colours(found: Detections, spec: CropSpec) -> Detections:
    """Return cells whose frame knows their colours, where the bundle moves them."""
    if spec.colour_transfer is None:
        return found
    colours = cell_colours(found)
    if colours is None and len(found):  # boxes without a pixel of their own
        colours = Colours(np.zeros(3, np.float32), np.zeros(3, np.float32))
    return replace(found, frame=replace(found.frame, colours=colours))


def trouble_with(frame: Frame, spec: CropSpec) -> tuple[Reason, ...]:
    """Return why the colours of a frame cannot be moved; nothing where they can, or need not."""
    if spec.colour_transfer is None or frame.colours is None or spreads(frame.colours):
        return ()
    return (Reason("no_spread", f"{NO_SPREAD}: check camera and stain"),)


def move_of(frame: Frame, spec: CropSpec) -> Float32 | None:
    """Return how the pixels of a frame are moved, as `moved` takes it; None where they are not.

    Raises InputError when the cells have no spread of colour, ValueError when nobody measured them
    (`with_colours`).
    """
    if spec.colours is None:
        return None
    if frame.colours is None:
        raise ValueError("the colours of a frame must be measured before its cells are cut")
    if not spreads(frame.colours):
        raise InputError(NO_SPREAD, frame.source, "leave the image out")
    return move_between(frame.colours, spec.colours)


def move_between(given: Colours, wanted: ColoursSpec) -> Float32:
    """Return the change of the cones' logarithms, float32 (3, 4): a matrix, then what is added."""
    ratio = np.asarray(wanted.deviation) / np.asarray(given.deviation, np.float64)
    matrix = FROM_AXES @ np.diag(ratio) @ AXES
    added = FROM_AXES @ (np.asarray(wanted.mean) - ratio * np.asarray(given.mean, np.float64))
    return np.asarray(np.column_stack([matrix, added]), np.float32)


def moved(pixels: UInt8, move: Float32) -> Float32:
    """Return pixels, uint8 (H, W, 3) RGB, in other colours: float32, 0 to 255, not rounded."""
    first = np.column_stack([CONES, CONES.sum(axis=1)]) / GREYS
    last = np.column_stack([FROM_CONES * GREYS, np.full(3, -1.0)])
    cones = cv2.transform(pixels.astype(np.float32), first)
    logarithms = cv2.transform(cv2.log(cones), move)
    cones = cv2.exp(np.clip(logarithms, -MOST_LOGARITHM, MOST_LOGARITHM))
    return np.asarray(np.clip(cv2.transform(cones, last), 0, 255), np.float32)


def as_colours(spec: ColoursSpec) -> Colours:
    """Return the wanted colours as those of a frame whose cells have them already."""
    return Colours(np.array(spec.mean, np.float32), np.array(spec.deviation, np.float32))


def spreads(colours: Colours) -> bool:
    """Whether colours are spread out on every axis, so that the spread can be changed."""
    return bool((colours.deviation >= LEAST_DEVIATION).all())
