"""`replay://FOLDER?fps=5`: the images of a folder, paced like a camera."""

from __future__ import annotations

from pathlib import Path

from edgeapl.closable import ClosesItself
from edgeapl.errors import EndOfSource, InputError, SourceStalled
from edgeapl.protocols import Clock
from edgeapl.sources.decode import read_image
from edgeapl.sources.devices.options import number, split_options, yes_or_no
from edgeapl.sources.discover import has_image_name
from edgeapl.sources.frames import ScaleFor, SystemClock, frame_of_image
from edgeapl.types import Frame
from edgeapl.wording.printable import printable

PREFIX = "replay://"

FPS = 2.0
"""Pictures per second unless the address says otherwise: about the pace of a moved stage."""

_OPTIONS = {"fps": number(0.01, 240), "loop": yes_or_no}


class ReplaySource(ClosesItself):
    """Implements FrameSource over image files, paced like a camera.

    Every picture has its due time; one is dropped if the next one is due as well, leaving a gap in
    the index. A frame's time is its due time.

    Parameters
    ----------
    files : images in the order to show them, at least one.
    scale_for : returns µm per px and its origin for an image that states no scale.
    fps : pictures per second. loop : start again after the last one.
    clock : for tests; None for the system's.
    """

    live = True

    def __init__(
        self,
        files: tuple[Path, ...],
        name: str,
        scale_for: ScaleFor,
        *,
        fps: float = FPS,
        loop: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self._files = files
        self._scale_for = scale_for
        self._step_ns = int(1e9 / fps)
        self._loop = loop
        self._clock = clock or SystemClock()
        self._start_ns = self._clock.monotonic_ns()
        self._next = 0
        self._closed = False

    @classmethod
    def from_address(
        cls, address: str, scale_for: ScaleFor, clock: Clock | None = None
    ) -> ReplaySource:
        """Parse ``replay://FOLDER?fps=5&loop=1``. Raises ConfigError or InputError."""
        folder, options = split_options(address, PREFIX, _OPTIONS)
        path = Path(folder)
        if not folder or not path.is_dir():
            raise InputError("no such folder", printable(folder), f"write {PREFIX}FOLDER?fps=2")
        files = tuple(sorted(entry for entry in path.iterdir() if has_image_name(entry.name)))
        if not files:
            mend = "give a folder with PNG, JPEG, TIFF or BMP files"
            raise InputError("no images in folder", printable(folder), mend)
        loop = bool(options.get("loop", False))
        fps = float(str(options.get("fps", FPS)))
        return cls(files, printable(address), scale_for, fps=fps, loop=loop, clock=clock)

    def read(self, timeout_s: float) -> Frame:
        """Return the newest picture that is due.

        Raises SourceStalled when none is due in time, InputError for a bad file, EndOfSource after
        the last.
        """
        if self._closed:
            raise EndOfSource
        now = self._clock.monotonic_ns()
        turn = max(self._next, (now - self._start_ns) // self._step_ns)
        if not self._loop:
            if self._next >= len(self._files):
                raise EndOfSource
            turn = min(turn, len(self._files) - 1)
        due = self._start_ns + turn * self._step_ns
        wait_s = (due - now) / 1e9
        if wait_s > timeout_s:
            self._clock.sleep(timeout_s)
            raise SourceStalled("no picture is due yet", self.name, "wait")
        if wait_s > 0:
            self._clock.sleep(wait_s)
        self._next = turn + 1
        file = self._files[turn % len(self._files)]
        return frame_of_image(
            read_image(file),
            index=turn,
            captured_ns=due,
            source=str(file),
            scale_for=self._scale_for,
        )

    def close(self) -> None:
        """Stop the replay."""
        self._closed = True
