"""Frames from a list of image files, in order, to the end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from edgeapl.closable import ClosesItself
from edgeapl.errors import EndOfSource
from edgeapl.sources.decode import Reading, read_images
from edgeapl.sources.frames import ScaleFor, frame_of_image
from edgeapl.types import Frame


class FilesSource(ClosesItself):
    """Implements FrameSource over named files; an unreadable one raises InputError once.

    A file with several pictures yields each as a frame.

    Parameters
    ----------
    files : images of one slide.
    name : shown to people.
    scale_for : returns µm per px and its origin for an image that states no scale.
    stored : where the content of a file lies, if not where its name says.
    """

    live = False

    def __init__(
        self,
        files: Sequence[Path],
        name: str,
        scale_for: ScaleFor,
        stored: Callable[[Path], Path] = Path,
    ) -> None:
        self.name = name
        self._files = tuple(files)
        self._scale_for = scale_for
        self._stored = stored
        self._next = 0
        self._given = 0
        self._open: deque[Reading] = deque()

    def read(self, timeout_s: float) -> Frame:
        """Return the next frame. Raises InputError for a bad file, EndOfSource at the end."""
        if not self._open:
            if self._next >= len(self._files):
                raise EndOfSource
            self._next += 1
        index = self._given
        self._given += 1
        captured = time.monotonic_ns()
        file = self._files[self._next - 1]
        if not self._open:
            self._open.extend(read_images(file, stored=self._stored(file)))
        return frame_of_image(
            self._open.popleft()(),
            index=index,
            captured_ns=captured,
            source=str(file),
            scale_for=self._scale_for,
        )

    def close(self) -> None:
        """Drop the files that were not read."""
        self._next = len(self._files)
        self._open.clear()
