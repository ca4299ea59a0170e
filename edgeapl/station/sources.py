"""Between the camera and a slide: the viewfinder, the scale, the stored frames."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from edgeapl.closable import ClosesItself
from edgeapl.errors import EdgeAplError, EndOfSource, InputError, SourceStalled
from edgeapl.pixel_size import SlideScale
from edgeapl.protocols import FrameSource, Interruptible
from edgeapl.types import Frame, ScaleOrigin, UInt8

_READ_S = 0.5


class StationScale:
    """The scale of frames: measured anew for each slide, assumed between slides.

    Parameters
    ----------
    stated : µm per px, if given by a person. assumed : the bundle's own, µm per px.
    """

    def __init__(self, stated: float | None, assumed: float) -> None:
        self._stated = stated
        self._assumed = assumed
        self._slide: SlideScale | None = None

    def start_slide(self) -> None:
        """Measure from the next frame on."""
        self._slide = SlideScale(self._stated, self._assumed)

    def close_slide(self) -> None:
        """Stop measuring: between slides frames are only shown."""
        self._slide = None

    def __call__(self, pixels: UInt8) -> tuple[float, ScaleOrigin]:
        """Return µm per px for an image, uint8 (H, W, 3) RGB, and how it is known."""
        slide = self._slide
        if slide is not None:
            return slide(pixels)
        if self._stated is not None:
            return self._stated, ScaleOrigin.STATED
        return self._assumed, ScaleOrigin.ASSUMED


class Viewfinder(ClosesItself):
    """Implements FrameSource over another source, and always shows its newest frame.

    A camera is read in a thread of its own, so that people see it while no slide is open and while
    the networks are busy; newer frames replace older ones. Files and folders that fill up are read
    on demand, so that none of their frames is skipped.

    Parameters
    ----------
    source : closed with the viewfinder.
    """

    def __init__(self, source: FrameSource) -> None:
        self.live = source.live
        self.runs_ahead = source.live and not getattr(source, "keeps", False)
        self.source = source
        self._arrived = threading.Condition()
        self._newest: Frame | None = None
        self._unread: Frame | None = None
        self._errors: list[EdgeAplError] = []
        self._end: EdgeAplError | EndOfSource | None = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        if self.runs_ahead:
            self._thread = threading.Thread(target=self._run, name="edgeapl-view", daemon=True)
            self._thread.start()

    @property
    def name(self) -> str:
        """Name of the source."""
        return self.source.name

    @property
    def newest(self) -> Frame | None:
        """The newest frame, read or not."""
        return self._newest

    @property
    def trouble(self) -> str:
        """Why there are no more frames; empty while there are."""
        return "" if self._end is None else str(self._end)

    @property
    def ended(self) -> bool:
        """Whether the source has delivered its last frame."""
        return isinstance(self._end, EndOfSource)

    def read(self, timeout_s: float) -> Frame:
        """Return the next frame; of a camera, the newest unread one."""
        if self._thread is None:
            return self._read_through(timeout_s)
        with self._arrived:
            self._arrived.wait_for(
                lambda: self._unread or self._errors or self._end or self._closed.is_set(),
                timeout_s,
            )
            if self._closed.is_set():
                raise EndOfSource
            if self._errors:
                raise self._errors.pop(0)
            frame, self._unread = self._unread, None
            if frame is not None:
                return frame
            if self._end is not None:
                raise self._end
        raise SourceStalled("no picture in time", self.name, "check the camera")

    def interrupt(self) -> None:
        """Cut a long read short, where the source supports that: the station must end."""
        if isinstance(self.source, Interruptible):
            self.source.interrupt()

    def discard_unread(self) -> None:
        """Drop the unread frame: it was captured before the slide was opened."""
        with self._arrived:
            self._unread = None
            self._errors.clear()

    def close(self) -> None:
        """Close the source."""
        self._closed.set()
        with self._arrived:
            self._arrived.notify_all()
        if self._thread is not None:
            self._thread.join()
        self.source.close()

    def _read_through(self, timeout_s: float) -> Frame:
        try:
            self._newest = self.source.read(timeout_s)
        except EndOfSource as end:
            self._end = end
            raise
        return self._newest

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                frame = self.source.read(_READ_S)
            except SourceStalled:
                continue
            except InputError as error:
                with self._arrived:
                    self._errors.append(error)
                    self._arrived.notify_all()
                continue
            except (EdgeAplError, EndOfSource) as end:
                with self._arrived:
                    self._end = end
                    self._arrived.notify_all()
                return
            with self._arrived:
                self._newest = self._unread = frame
                self._arrived.notify_all()


class ResumedSource:
    """Implements FrameSource: stored frames first, then those of another source.

    New frames are numbered after the stored ones.

    Parameters
    ----------
    stored : one function per stored frame, which reads it.
    then : source of new frames, left open by `close`; None ends after the stored ones.
    waits : take new frames only after `resume`.
    """

    live = True

    def __init__(
        self,
        stored: Sequence[Callable[[], Frame]],
        then: FrameSource | None,
        *,
        waits: bool = False,
    ) -> None:
        self.name = "the frames kept" if then is None else then.name
        self.count = len(stored)
        self._stored = stored
        self._then = then
        self._next = 0
        self._arrived = threading.Condition()
        self._waits = waits
        self._ended = then is None

    @property
    def unread(self) -> int:
        """Stored frames that were not read yet."""
        return len(self._stored) - self._next

    @property
    def waits(self) -> bool:
        """Whether new frames wait for `resume`."""
        return self._waits and not self._ended

    @property
    def stored_only(self) -> bool:
        """Whether stored frames are all there will be, unless somebody resumes the slide."""
        return self._waits or self._then is None

    def resume(self) -> None:
        """Take new frames from now on."""
        with self._arrived:
            self._waits = False
            self._arrived.notify_all()

    def end(self) -> None:
        """Deliver the remaining stored frames, and no new ones."""
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    def read(self, timeout_s: float) -> Frame:
        """Return the next frame; a damaged stored one raises InputError."""
        if self._next < len(self._stored):
            self._next += 1
            return self._stored[self._next - 1]()
        with self._arrived:
            if self._waits and not self._ended:
                self._arrived.wait(timeout_s)
            if self._ended or self._then is None:
                raise EndOfSource
            if self._waits:
                raise SourceStalled("slide was left open", self.name, "say whether it continues")
        frame = self._then.read(timeout_s)
        return replace(frame, index=frame.index + len(self._stored)) if self._stored else frame

    def close(self) -> None:
        """Do nothing: the other source stays open."""
