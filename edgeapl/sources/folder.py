"""A folder that fills up, such as the one a microscope's software saves to."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from edgeapl.closable import ClosesItself
from edgeapl.errors import CameraError, EndOfSource, InputError, SourceStalled
from edgeapl.protocols import Clock
from edgeapl.sources.decode import DecodedImage, Reading, read_images
from edgeapl.sources.discover import has_image_name
from edgeapl.sources.frames import ScaleFor, SystemClock, frame_of_image
from edgeapl.types import Frame
from edgeapl.wording.printable import printable

POLL_S = 0.2

SETTLED_S = 0.5
"""A file that has not changed for this long counts as complete."""

PATIENCE_S = 5.0
"""A file that cannot be read is retried until it has not changed for this long: a slow writer on a
network can pause in the middle of a file."""


@dataclass(frozen=True, slots=True)
class _State:
    """One version of a file; a rewritten file is a new version. Times in ns."""

    modified: int
    size: int
    inode: int


@dataclass(slots=True)
class _Waiting:
    state: _State
    since: int
    retry_at: int


class FolderSource(ClosesItself):
    """Implements FrameSource over the images of one folder, existing and new.

    A file is read once, in order of modification time, when it has stopped changing; a rewritten
    file is read again. Sub-folders and hidden files are ignored. A file that stays unreadable
    raises InputError once.

    Parameters
    ----------
    folder : where images appear.
    scale_for : returns µm per px and its origin for an image that states no scale.
    clock : for tests; None for the system's.
    """

    live = True
    keeps = True
    """Nothing is lost by reading late: files wait until they are read."""

    def __init__(self, folder: Path, scale_for: ScaleFor, clock: Clock | None = None) -> None:
        self.name = printable(folder)
        self._folder = folder
        self._scale_for = scale_for
        self._clock = clock or SystemClock()
        self._waiting: dict[str, _Waiting] = {}
        self._given: dict[str, _State] = {}
        self._next = 0
        self._open: deque[Reading] = deque()
        self._opened = ""
        self._closed = False
        self._look()

    def read(self, timeout_s: float) -> Frame:
        """Return the next frame.

        Raises SourceStalled when no new file was complete in time, InputError for one bad file,
        CameraError when the folder is gone, EndOfSource after close.
        """
        deadline = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while True:
            if self._closed:
                raise EndOfSource
            self._look()
            frame = self._first_ready()
            if frame is not None:
                return frame
            left_s = (deadline - self._clock.monotonic_ns()) / 1e9
            if left_s <= 0:
                raise SourceStalled("no new image", self.name, "wait, or close the slide")
            self._clock.sleep(min(POLL_S, left_s))

    def _first_ready(self) -> Frame | None:
        """Try the files that have stopped changing, oldest first."""
        now = self._clock.monotonic_ns()
        if self._open:
            return self._next_part(now)
        settled = [name for name, waiting in self._waiting.items() if waiting.retry_at <= now]
        settled.sort(key=lambda name: (self._waiting[name].state.modified, os.fsencode(name)))
        for name in settled:
            waiting = self._waiting[name]
            try:
                readings = deque(read_images(self._folder / name))
                first = readings.popleft()()
            except InputError:
                if now - waiting.since < PATIENCE_S * 1e9:
                    waiting.retry_at = now + int(SETTLED_S * 1e9)
                    continue
                self._take(name)
                self._next += 1
                raise
            self._take(name)
            self._opened, self._open = name, readings
            return self._frame(first, now)
        return None

    def _next_part(self, now: int) -> Frame:
        """Return a further picture of the current file. Raises InputError."""
        reading = self._open.popleft()
        try:
            image = reading()
        except InputError:
            self._next += 1
            raise
        return self._frame(image, now)

    def _frame(self, image: DecodedImage, now: int) -> Frame:
        """Return the frame of a picture of the current file."""
        index = self._next
        self._next += 1
        return frame_of_image(
            image,
            index=index,
            captured_ns=now,
            source=str(self._folder / self._opened),
            scale_for=self._scale_for,
        )

    def _take(self, name: str) -> None:
        """Mark a file as read."""
        self._given[name] = self._waiting.pop(name).state

    def _look(self) -> None:
        """Register new and changed files, and drop those that are gone."""
        now = self._clock.monotonic_ns()
        found = self._states()
        for name, state in found.items():
            waiting = self._waiting.get(name)
            if self._given.get(name) == state or (waiting and waiting.state == state):
                continue
            self._waiting[name] = _Waiting(state, now, now + int(SETTLED_S * 1e9))
        for name in self._waiting.keys() - found.keys():
            del self._waiting[name]
        for name in self._given.keys() - found.keys():
            del self._given[name]

    def _states(self) -> dict[str, _State]:
        found = {}
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if has_image_name(entry.name):
                        status = entry.stat(follow_symlinks=False)
                        found[entry.name] = _State(
                            status.st_mtime_ns, status.st_size, status.st_ino
                        )
        except FileNotFoundError as error:
            if self._folder.is_dir():
                return self._states()  # a file disappeared between two looks
            raise self._lost(error) from error
        except OSError as error:
            raise self._lost(error) from error
        return found

    def _lost(self, error: OSError) -> CameraError:
        reason = error.strerror or "unknown reason"
        return CameraError(f"folder cannot be read ({reason})", self.name, "check it and its disk")

    def close(self) -> None:
        """Stop watching."""
        self._closed = True
