"""A frame: the pixels of one field of view, where they come from and at what scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from edgeapl.types.arrays import UInt8, check_array, read_only
from edgeapl.types.colours import Colours


class ScaleOrigin(str, Enum):
    """Where a frame's µm per pixel comes from."""

    STATED = "stated"  # by the user, the slide list or the station file
    MEASURED = "measured"  # from the size of the red cells in the image
    ESTIMATED = "estimated"  # from few or cut red cells or from nuclei, where nothing was better
    ASSUMED = "assumed"  # the bundle's own scale, because nothing better was known

    @property
    def within(self) -> float:
        """The factor within which 19 of 20 such scales lie; 1 where it is unknown."""
        return {ScaleOrigin.MEASURED: 1.25, ScaleOrigin.ESTIMATED: 2.0}.get(self, 1.0)


@dataclass(frozen=True, slots=True)
class Remark:
    """A remark on how an image was read.

    code : stable, for machines. text : a plain sentence without the image's name.
    doubtful : the image may not be what it seems, so a slide with it is not cleared.
    """

    code: str
    text: str
    doubtful: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One RGB image of one field of view.

    pixels : uint8 (H, W, 3) RGB; made read-only.
    index : position in its source, from 0; a gap means that a frame was dropped.
    captured_ns : monotonic clock at capture, ns.
    um_per_px : µm per pixel, above 0.
    scale : where um_per_px comes from.
    source : the file or the camera it came from.
    digest : SHA-256 (hex) of the bytes it was decoded from, or of the pixels for a camera; of the
        text ``SHA256#1`` for one of several images of a file, so that no two share one.
    remarks : how it was read, where that is worth saying.
    colours : of its cells, where the bundle moves them; None before these are found.
    """

    pixels: UInt8
    index: int
    captured_ns: int
    um_per_px: float
    source: str
    digest: str
    scale: ScaleOrigin = ScaleOrigin.STATED
    remarks: tuple[Remark, ...] = ()
    colours: Colours | None = None

    def __post_init__(self) -> None:
        check_array("Frame.pixels", self.pixels, np.uint8, (None, None, 3))
        if 0 in self.pixels.shape:
            raise ValueError(f"Frame.pixels: empty image, shape {self.pixels.shape}")
        if not (math.isfinite(self.um_per_px) and self.um_per_px > 0):
            raise ValueError(f"Frame.um_per_px: expected a number above 0, got {self.um_per_px}")
        if self.index < 0:
            raise ValueError(f"Frame.index: expected 0 or more, got {self.index}")
        read_only(self.pixels)

    @property
    def height(self) -> int:
        """Rows, px."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns, px."""
        return int(self.pixels.shape[1])
