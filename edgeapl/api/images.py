"""The forms in which a slide can be passed: a folder, files, arrays or a source of frames."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.closable import ClosesItself
from edgeapl.errors import EndOfSource, InputError, UsageError
from edgeapl.pixel_size import SlideScale, measure_ahead
from edgeapl.protocols import FrameSource
from edgeapl.sources.decode import SMALLEST_SIDE_PX
from edgeapl.sources.discover import find_slides, printable, split_left_out
from edgeapl.sources.files import FilesSource
from edgeapl.sources.frames import frame_of_pixels
from edgeapl.types import Frame, UInt8

Place = str | os.PathLike[str]
Images = Place | Sequence[Place] | NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | FrameSource
"""One slide: a folder or file, several files, RGB arrays uint8 (H, W, 3), or a source."""


class ArraysSource(ClosesItself):
    """Implements FrameSource over arrays in memory.

    Parameters
    ----------
    arrays : uint8 (H, W, 3) RGB each; read, never changed.
    name : shown to people.
    scale_for : returns µm per px and its origin for an image.
    """

    live = False

    def __init__(self, arrays: Sequence[UInt8], name: str, scale_for: SlideScale) -> None:
        self.name = name
        self._arrays = tuple(arrays)
        self._scale_for = scale_for
        self._next = 0

    def read(self, timeout_s: float) -> Frame:
        """Return the next array as a frame. Raises EndOfSource at the end."""
        if self._next >= len(self._arrays):
            raise EndOfSource
        index = self._next
        self._next += 1
        return frame_of_pixels(
            # A view of its own: frames are made read-only, but the caller's array must stay
            # writable.
            self._arrays[index].view(),
            index=index,
            captured_ns=time.monotonic_ns(),
            source=f"array {index}",
            scale_for=self._scale_for,
        )

    def close(self) -> None:
        """Drop the arrays that were not read."""
        self._next = len(self._arrays)


@dataclass(frozen=True, slots=True)
class SlideImages:
    """A slide that is ready to be read. name : of the slide. left_out : files the bundle skips.

    own : the source was created here, and is closed here.
    """

    name: str
    source: FrameSource
    left_out: tuple[Path, ...] = ()
    own: bool = True


def slide_images(
    images: Images,
    *,
    slide: str | None,
    um_per_px: float | None,
    assumed_um_per_px: float,
    crops: bool = False,
    leave_out: Sequence[str] = (),
) -> SlideImages:
    """Make a source of whatever was passed as a slide.

    Parameters
    ----------
    images : the slide. slide : its name; None for that of the folder or file.
    um_per_px : scale of all images; None to measure it. assumed_um_per_px : if that fails.
    crops : every image is one cell. leave_out : folders of cell images that are not examined.

    Raises UsageError when it is no slide, or several; InputError when nothing is there.
    """
    if um_per_px is not None and not 0.005 <= um_per_px <= 10:
        raise UsageError("um_per_px is out of range", um_per_px, "give 0.005 to 10 µm per pixel")
    scale = SlideScale(um_per_px, assumed_um_per_px)
    if isinstance(images, np.ndarray):
        images = [images] if images.ndim == 3 else list(images)
    if isinstance(images, (str, os.PathLike)):
        name, files, stated = _one_slide(Path(images), crops=crops)
        if um_per_px is None and stated is not None:
            scale = SlideScale(stated, assumed_um_per_px)
        return _of_files(slide or name, files, scale, leave_out if crops else ())
    if isinstance(images, FrameSource):
        return SlideImages(slide or images.name, images, own=False)
    items: list[Any] = list(images)
    if not items:
        raise UsageError("no images", "an empty list", "give at least one file or array")
    if all(isinstance(item, (str, os.PathLike)) for item in items):
        files = tuple(Path(item) for item in items)
        return _of_files(slide or files[0].stem, files, scale, leave_out if crops else ())
    arrays = [_checked(item, number) for number, item in enumerate(items)]
    for array in arrays[:: max(1, len(arrays) // 5)]:
        if scale.settled:
            break
        scale.measure(array)
    return SlideImages(slide or "arrays", ArraysSource(arrays, slide or "arrays", scale))


def _one_slide(place: Path, *, crops: bool) -> tuple[str, tuple[Path, ...], float | None]:
    slides = find_slides(place, crops=crops).slides
    if len(slides) != 1:
        names = ", ".join(printable(slide.name) for slide in slides[:3])
        mend = "pass the folder of one slide, or use edgeapl.score"
        raise UsageError(f"{len(slides)} slides ({names}, ...)", printable(place), mend)
    (slide,) = slides
    return slide.name, slide.files, slide.um_per_px


def _of_files(
    name: str, files: tuple[Path, ...], scale: SlideScale, leave_out: Sequence[str]
) -> SlideImages:
    kept, left_out = split_left_out(files, leave_out)
    measure_ahead(scale, kept)
    return SlideImages(name, FilesSource(kept, name, scale), left_out)


def _checked(item: object, number: int) -> UInt8:
    """Return `item` as an image. Raises UsageError that names the array and what it is."""
    which = f"image {number}"
    wanted = "pass RGB arrays, uint8 (H, W, 3)"
    if not isinstance(item, np.ndarray):
        raise UsageError(f"neither a file nor an array: {type(item).__name__}", which, wanted)
    if item.dtype != np.uint8:
        raise UsageError(f"dtype {item.dtype}, expected uint8", which, wanted)
    if item.ndim != 3 or item.shape[2] != 3:
        raise UsageError(f"shape {item.shape}, expected (H, W, 3)", which, wanted)
    if min(item.shape[:2]) < SMALLEST_SIDE_PX:
        height, width = item.shape[:2]
        least = f"pass at least {SMALLEST_SIDE_PX} px on each side"
        raise InputError(f"image is too small ({width} x {height} px)", which, least)
    return np.ascontiguousarray(item)
