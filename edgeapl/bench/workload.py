"""The images to examine: a drawn slide written to files, or a user's folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2

from edgeapl.errors import EndOfSource, StorageError, UsageError
from edgeapl.pixel_size import SlideScale, measure_ahead
from edgeapl.sources.demo import DemoSource
from edgeapl.sources.discover import find_slides
from edgeapl.sources.frames import ScaleFor

DRAWN = "demo://apl?seed=1"
"""The slide that `edgeapl demo` shows: 8 frames of 1280 x 960 px with about 24 cells each."""

PLAIN_TIFF = [cv2.IMWRITE_TIFF_COMPRESSION, 1]
"""Uncompressed pixels (TIFF 6.0, Compression 1), as microscope software saves them. PNG takes far
longer to decode, which a user's folder shows."""


@dataclass(frozen=True, slots=True)
class BenchSlide:
    """Image files of one slide, and their scale."""

    name: str
    files: tuple[Path, ...]
    scale_for: ScaleFor


@dataclass(frozen=True, slots=True)
class Workload:
    """What is examined, repeatedly. name : address or folder."""

    name: str
    slides: tuple[BenchSlide, ...]

    @property
    def frames(self) -> int:
        """Number of image files."""
        return sum(len(slide.files) for slide in self.slides)


@contextmanager
def open_workload(images: str | None, assumed_um_per_px: float) -> Iterator[Workload]:
    """Yield what to examine, inside a `with` block.

    Parameters
    ----------
    images : a folder, a ``demo://`` address, or None for `DRAWN`. Drawn frames are written to TIFF
        files, so that reading and decoding are measured too.
    assumed_um_per_px : scale if none can be measured: the bundle's own.

    The scale of a folder is measured once, here, outside the timing of frames.
    """
    if images is None or images.startswith("demo://"):
        with tempfile.TemporaryDirectory(prefix="edgeapl-bench-") as folder:
            yield _drawn(images or DRAWN, Path(folder))
        return
    yield _of_folder(Path(images), assumed_um_per_px)


def _drawn(address: str, folder: Path) -> Workload:
    files = []
    scale = 0.0
    with DemoSource.from_address(address) as source:
        while True:
            try:
                frame = source.read(0)
            except EndOfSource:
                break
            scale = frame.um_per_px
            path = folder / f"{frame.index:05}.tif"
            pixels = cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR)
            if not cv2.imwrite(str(path), pixels, PLAIN_TIFF):
                raise StorageError("drawn frame cannot be written", path, "free some disk")
            files.append(path)
    slide = BenchSlide("drawn", tuple(files), SlideScale(scale, scale))
    return Workload(address, (slide,))


def _of_folder(folder: Path, assumed: float) -> Workload:
    slides = []
    for found in find_slides(folder).slides:
        scale = SlideScale(found.um_per_px, assumed)
        measure_ahead(scale, found.files)
        slides.append(BenchSlide(found.name, tuple(found.files), scale))
    if not slides:
        raise UsageError("no images to examine", folder, "name a folder with images")
    return Workload(str(folder), tuple(slides))
