"""Sources that deliver frames at the pace of a scenario, and record when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgeapl.bench.workload import BenchSlide
from edgeapl.closable import ClosesItself
from edgeapl.errors import EndOfSource, InputError, SourceStalled
from edgeapl.sources.decode import decode_image
from edgeapl.sources.frames import frame_of_image, frame_of_pixels
from edgeapl.sources.regular_file import read_plain_file
from edgeapl.types import Frame
from edgeapl.wording.printable import printable

Now = Callable[[], int]
"""Monotonic clock, ns; replaced in tests."""

MOST_FILE_BYTES = 512 * 2**20


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """When a frame was requested (monotonic ns), its query, and seconds by stage until then."""

    issued_ns: int
    query: int
    stages: dict[str, float]


class PacedSource(ClosesItself):
    """Implements FrameSource over files: some frames at once, the next when all are answered.

    Parameters
    ----------
    slide : the files.
    at_once : frames per query; None delivers all without waiting, as a folder does.

    shots : frame index to `FrameRequest`. A file that cannot be read raises InputError and counts
        as
    answered.
    """

    def __init__(
        self, slide: BenchSlide, at_once: int | None, now: Now = time.monotonic_ns
    ) -> None:
        self.name = slide.name
        self.live = at_once is not None
        self.shots: dict[int, FrameRequest] = {}
        self._slide = slide
        self._at_once = at_once
        self._now = now
        self._turn = threading.Condition()
        self._given = 0
        self._answered = 0
        self._ended = False
        self._free = at_once is None
        self._issued_ns = 0

    def read(self, timeout_s: float) -> Frame:
        """Return the next frame. Raises SourceStalled while earlier ones are unanswered."""
        index = self._given
        if index >= len(self._slide.files):
            raise EndOfSource
        with self._turn:
            if not self._turn.wait_for(self._may_read, timeout_s):
                raise SourceStalled("frames before it are unanswered", self.name, "wait")
            if self._ended:
                raise EndOfSource
            at_once = self._at_once or 1
            if index % at_once == 0:
                self._issued_ns = self._now()
            self._given += 1
        return self._read(index, index // at_once)

    def answered(self) -> None:
        """Record that a frame has been answered."""
        with self._turn:
            self._answered += 1
            self._turn.notify_all()

    def release(self) -> None:
        """Stop waiting for answers: something failed and will never answer."""
        with self._turn:
            self._free = True
            self._turn.notify_all()

    def close(self) -> None:
        """Drop the files that were not read; a waiting reader gets the end of the source."""
        with self._turn:
            self._ended = True
            self._turn.notify_all()

    def _may_read(self) -> bool:
        in_query = self._at_once is not None and self._given % self._at_once != 0
        return self._ended or self._free or in_query or self._answered >= self._given

    def _read(self, index: int, query: int) -> Frame:
        path = self._slide.files[index]
        start = self._now()
        try:
            data = read_plain_file(path, MOST_FILE_BYTES)
            grabbed = self._now()
            image = decode_image(data, printable(path))
        except InputError:
            self.answered()
            raise
        decoded = self._now()
        frame = frame_of_image(
            image,
            index=index,
            captured_ns=start,
            source=str(path),
            scale_for=self._slide.scale_for,
        )
        stages = {
            "grab": (grabbed - start) / 1e9,
            "decode": (decoded - grabbed) / 1e9,
            "scale": (self._now() - decoded) / 1e9,
        }
        self.shots[index] = FrameRequest(self._issued_ns, query, stages)
        return frame


class BenchCamera(ClosesItself):
    """Implements FrameSource like a camera: pixels are ready at once, timed when captured.

    Every read copies the pixels, as a driver does, and hashes them, as every camera source does.

    Parameters
    ----------
    pictures : frames to show in turn.
    """

    live = True

    def __init__(self, name: str, pictures: Sequence[Frame], now: Now = time.monotonic_ns) -> None:
        self.name = name
        self.shots: dict[int, FrameRequest] = {}
        self._pictures = tuple(pictures)
        self._now = now
        self._next = 0

    def read(self, timeout_s: float) -> Frame:
        """Capture the next picture."""
        index = self._next
        if index >= len(self._pictures):
            raise EndOfSource
        self._next += 1
        picture = self._pictures[index]
        captured = self._now()
        frame = frame_of_pixels(
            np.array(picture.pixels),
            index=index,
            captured_ns=captured,
            source=f"{self.name}#{index}",
            scale_for=lambda pixels: (picture.um_per_px, picture.scale),
        )
        self.shots[index] = FrameRequest(captured, index, {"grab": (self._now() - captured) / 1e9})
        return frame

    def close(self) -> None:
        """Stop the camera."""
        self._next = len(self._pictures)


def read_all(slide: BenchSlide) -> tuple[Frame, ...]:
    """Decode all files of a slide in advance. A bad one raises InputError."""
    source = PacedSource(slide, None)
    return tuple(source.read(0) for _ in slide.files)
