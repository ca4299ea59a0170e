"""Pictures that explain a verdict, for its report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from edgeapl.types import Float32, UInt8

OPACITY = 0.45
"""Opacity of colours over a picture, so that the picture stays recognisable."""

GAP_PX = 4


@dataclass(frozen=True, slots=True)
class ExplainedPicture:
    """One picture. caption : a plain sentence. jpeg : its bytes. size : space on the page."""

    caption: str
    jpeg: bytes
    size: Literal["cell", "row", "page"] = "cell"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a verdict is what it is.

    title : from the bundle. caption : what the pictures show, how they were made, and their limits.
    pictures : by weight; empty when the explanation failed, and the caption then says why.
    """

    title: str
    caption: str
    pictures: tuple[ExplainedPicture, ...] = ()


def heat(values: Float32, width: int, height: int, colours: int) -> UInt8:
    """Draw a map in colours, scaled from its smallest to its largest value.

    Parameters
    ----------
    values : float32 (h, w). width, height : of the picture, px. colours : a map of OpenCV.

    Returns
    -------
    uint8 (height, width, 3) RGB.
    """
    low, high = float(values.min()), float(values.max())
    spread = (values - low) / (high - low) if high > low else np.zeros_like(values)
    grey = np.clip(np.rint(255 * spread), 0, 255).astype(np.uint8)
    large = cv2.resize(grey, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(large, colours), cv2.COLOR_BGR2RGB), np.uint8)


def laid_over(picture: UInt8, colours: UInt8) -> UInt8:
    """Blend colours over a picture of the same size, uint8 (H, W, 3) RGB."""
    return np.asarray(cv2.addWeighted(picture, 1 - OPACITY, colours, OPACITY, 0), dtype=np.uint8)


def side_by_side(*pictures: UInt8) -> UInt8:
    """Join pictures of one height horizontally, uint8 (H, W, 3) RGB."""
    gap = np.full((pictures[0].shape[0], GAP_PX, 3), 255, dtype=np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)][:-1]
    return np.concatenate(parts, axis=1)
