"""The cells of a cohort, decoded and cut by the code that a station runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgeapl.bundle.specs import CropSpec
from edgeapl.errors import EndOfSource, InputError
from edgeapl.export.training.labelled_set import LabelledImage, LabelledSet
from edgeapl.pixel_size import SlideScale
from edgeapl.protocols import Segmenter
from edgeapl.sources.files import FilesSource
from edgeapl.stages.colour_transfer import with_colours
from edgeapl.stages.crop import cut_cells
from edgeapl.stages.segment import HsvWatershed
from edgeapl.stages.whole_image import WholeField, whole_crop
from edgeapl.types import Int64, UInt8
from edgeapl.wording.printable import printable

READ_TIMEOUT_S = 30.0

Advance = Callable[[int, int], None]
"""Called with the number of images done, and their total."""


@dataclass(frozen=True, slots=True)
class Cutting:
    """How cells come out of images.

    crop : window, size and cut, as in the bundle's manifest.
    segmenter : ``hsv-watershed``, or ``field``: an image is one row.
    crops : every image is one cell. um_per_px : scale of the images; None to measure it.
    assumed_um_per_px : scale where none can be measured.
    """

    crop: CropSpec
    segmenter: str
    crops: bool
    um_per_px: float | None
    assumed_um_per_px: float

    def finder(self) -> Segmenter:
        """Return what finds cells in a frame that is not one cell."""
        return finder_of(self.segmenter)

    @property
    def seeks(self) -> bool:
        """Whether it matters where the cell in an image of one cell is."""
        return self.crop.mask or self.crop.colour_transfer is not None


def finder_of(segmenter: str) -> Segmenter:
    """Return what finds cells, by its name in a `Cutting`."""
    return WholeField() if segmenter == "field" else HsvWatershed()


@dataclass(frozen=True, slots=True, eq=False)
class CellPool:
    """Cells, one row each.

    crops : uint8 (N, S, S, 3) RGB. images : where each is from.
    digests : SHA-256 (hex) of the picture each is from.
    """

    crops: UInt8
    images: tuple[LabelledImage, ...]
    digests: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def patients(self) -> tuple[str, ...]:
        """Patient of every cell."""
        return tuple(image.patient for image in self.images)

    def rows_of(self, patients: Sequence[str]) -> Int64:
        """Return the rows, int64 (K,), of these patients' cells."""
        wanted = set(patients)
        rows = [row for row, image in enumerate(self.images) if image.patient in wanted]
        return np.array(rows, dtype=np.int64)


def load_pool(labelled: LabelledSet, cutting: Cutting, advance: Advance) -> CellPool:
    """Decode every image and cut its cells.

    Raises InputError for the first image that cannot be read, and when a slide shows no cell.
    """
    size = cutting.crop.size_px
    crops: list[UInt8] = []
    images: list[LabelledImage] = []
    digests: list[str] = []
    for number, (image, scale) in enumerate(_with_scale(labelled, cutting)):
        advance(number, len(labelled.images))
        for cells, digest in _cells(image, cutting, scale):
            crops.append(cells)
            images += [image] * len(cells)
            digests += [digest] * len(cells)
    advance(len(labelled.images), len(labelled.images))
    empty = {image.slide for image in labelled.images} - {image.slide for image in images}
    if empty:
        which = ", ".join(printable(name) for name in sorted(empty)[:3])
        raise InputError("no cell was found on a slide", which, "take it out, or state --um-per-px")
    together = np.concatenate([np.empty((0, size, size, 3), dtype=np.uint8), *crops])
    return CellPool(together, tuple(images), tuple(digests))


def _with_scale(
    labelled: LabelledSet, cutting: Cutting
) -> Iterator[tuple[LabelledImage, SlideScale]]:
    """Pair every image with the scale of its slide."""
    slide, scale = None, SlideScale(cutting.um_per_px, cutting.assumed_um_per_px)
    for image in labelled.images:
        if image.slide != slide:
            scale = SlideScale(cutting.um_per_px, cutting.assumed_um_per_px)
            slide = image.slide
        yield image, scale


def _cells(
    image: LabelledImage, cutting: Cutting, scale: SlideScale
) -> Iterator[tuple[UInt8, str]]:
    # What is cut of an image of one cell is its middle; masks and colours ask where the cell is.
    whole = cutting.crops and not cutting.seeks
    finder = WholeField() if whole else cutting.finder()
    with FilesSource((image.file,), "training", scale) as source:
        while True:
            try:
                frame = source.read(READ_TIMEOUT_S)
            except EndOfSource:
                return
            found = whole_crop(frame, finder) if cutting.crops else finder.segment(frame)
            found = with_colours(found, cutting.crop)
            yield cut_cells(found, cutting.crop, cell_image=cutting.crops), frame.digest
