"""Images of single cells, cut from the very frames that were examined."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from edgeapl.errors import InputError
from edgeapl.labelling.cell import Box, LabelledFrame
from edgeapl.sources.decode import DecodedImage, read_source
from edgeapl.types import UInt8
from edgeapl.wording.printable import printable

MARGIN_UM = 4.0
"""Around a cell: half a red cell, so that it is whole and some of its surroundings show."""


@dataclass(frozen=True, slots=True)
class FrameReader:
    """Finds and reads the examined frames.

    folders : tried after the path in the record; the first file with the digest counts.
    """

    folders: tuple[Path, ...] = ()

    def read(self, frame: LabelledFrame) -> UInt8:
        """Read the pixels of a frame, uint8 (H, W, 3) RGB.

        Raises InputError when it no longer exists, or is not the frame that was examined.
        """
        if not frame.is_file:
            what = "frame was not kept: it came from a camera or was drawn"
            raise InputError(what, printable(frame.source), "label it where it was saved")
        wrong: InputError | None = None
        for place in self._places(frame.source):
            try:
                image = read_source(place)
            except InputError as error:
                wrong = wrong or error
                continue
            if _is_it(image, frame):
                return image.pixels
            what = "frame is not the one that was examined"
            mend = "restore the file, or name its folder with --images"
            wrong = InputError(what, printable(place), mend)
        assert wrong is not None
        raise wrong

    def _places(self, source: str) -> Iterator[Path]:
        """Yield the recorded path, then ever shorter ends of it below each folder."""
        yield Path(source)
        parts = PurePath(source).parts
        for folder in self.folders:
            for start in range(len(parts)):
                if parts[start] not in ("/", ".."):
                    yield folder.joinpath(*parts[start:])


def _is_it(image: DecodedImage, frame: LabelledFrame) -> bool:
    size = (frame.height, frame.width)
    return image.digest == frame.digest and image.pixels.shape[:2] == size


def cut(pixels: UInt8, box: Box, um_per_px: float, margin_um: float = MARGIN_UM) -> UInt8:
    """Cut a square around a cell out of its frame, clipped at the frame's edges.

    Parameters
    ----------
    pixels : uint8 (H, W, 3). box : inside it. margin_um : beyond the longer side of the box.
    """
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = box
    half = max(x1 - x0, y1 - y0) / 2 + margin_um / um_per_px
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    left, right = max(0, math.floor(x - half)), min(width, math.ceil(x + half))
    top, bottom = max(0, math.floor(y - half)), min(height, math.ceil(y + half))
    return pixels[top:bottom, left:right]
