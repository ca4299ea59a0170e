"""What stands between the camera and a slide: the viewfinder, the scale, the kept frames."""

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
    """Gives the scale of frames: measured anew for each slide, assumed between slides.

    Parameters
    ----------
    stated : µm per px if somebody said so. assumed : the bundle's own.
    """

    def __init__(self, stated: float | None, assumed: float) -> None:
        self._stated = stated
        self._assumed = assumed
        self._slide: SlideScale | None = None

    def start_slide(self) -> None:
        """Measure from here on."""
        self._slide = SlideScale(self._stated, self._assumed)

    def close_slide(self) -> None:
        """Measure no more: between slides frames are only looked at."""
        self._slide = None

    def __call__(self, pixels: UInt8) -> tuple[float, ScaleOrigin]:
        """Give µm per px for an image, uint8 (H, W, 3) RGB, and where it comes from."""
        slide = self._slide
        if slide is not None:
            return slide(pixels)
        if self._stated is not None:
            return self._stated, ScaleOrigin.STATED
        return self._assumed, ScaleOrigin.ASSUMED


class Viewfinder(ClosesItself):
    """Implements FrameSource over another; its newest frame can be looked at all the time.

    A camera is read in a thread of its own, so that it is seen while no slide is open and while
    the networks are busy; older frames give way to newer ones. Anything else is read only when
    asked, so that nothing of it is passed over: files, and a folder that fills up.

    Parameters
    ----------
    source : closed with the viewfinder.
    """

    def __init__(self, source: FrameSource) -> None:
        self.live = source.live
        self.runs_ahead = source.live and not getattr(source, "keeps", False)
        self.source = source
        self._news = threading.Condition()
        self._newest: Frame | None = None
        self._unread: Frame | None = None
        self._errors: list[EdgeAplError] = []
        self._over: EdgeAplError | EndOfSource | None = None
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
        """The newest frame, taken or not."""
        return self._newest

    @property
    def trouble(self) -> str:
        """Why there is no more; empty while there is."""
        return "" if self._over is None else str(self._over)

    @property
    def ended(self) -> bool:
        """Whether the source has given its last frame."""
        return isinstance(self._over, EndOfSource)

    def read(self, timeout_s: float) -> Frame:
        """Give the next frame; of a camera, the newest that was not given yet."""
        if self._thread is None:
            return self._read_through(timeout_s)
        with self._news:
            self._news.wait_for(
                lambda: self._unread or self._errors or self._over or self._closed.is_set(),
                timeout_s,
            )
            if self._closed.is_set():
                raise EndOfSource
            if self._errors:
                raise self._errors.pop(0)
            frame, self._unread = self._unread, None
            if frame is not None:
                return frame
            if self._over is not None:
                raise self._over
        raise SourceStalled("no picture in time", self.name, "check the camera")

    def interrupt(self) -> None:
        """End a read that may take long, where the source can: the station must end."""
        if isinstance(self.source, Interruptible):
            self.source.interrupt()

    def forget(self) -> None:
        """Drop a frame that nobody has taken: it was captured before the slide was opened."""
        with self._news:
            self._unread = None
            self._errors.clear()

    def close(self) -> None:
        """Close the source."""
        self._closed.set()
        with self._news:
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join()
        self.source.close()

    def _read_through(self, timeout_s: float) -> Frame:
        try:
            self._newest = self.source.read(timeout_s)
        except EndOfSource as end:
            self._over = end
            raise
        return self._newest

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                frame = self.source.read(_READ_S)
            except SourceStalled:
                continue
            except InputError as error:
                with self._news:
                    self._errors.append(error)
                    self._news.notify_all()
                continue
            except (EdgeAplError, EndOfSource) as over:
                with self._news:
                    self._over = over
                    self._news.notify_all()
                return
            with self._news:
                self._newest = self._unread = frame
                self._news.notify_all()


class ResumedSource:
    """Implements FrameSource: first frames that were kept, then those of another source.

    Numbers go on where the kept ones end. No new frame is taken before a person's word.

    Parameters
    ----------
    kept : what reads each kept frame.
    then : left open when this is closed; None to end after the kept ones.
    waits : new frames wait for `go_on`.
    """

    live = True

    def __init__(
        self, kept: Sequence[Callable[[], Frame]], then: FrameSource | None, *, waits: bool = False
    ) -> None:
        self.name = "the frames kept" if then is None else then.name
        self.count = len(kept)
        self._kept = kept
        self._then = then
        self._next = 0
        self._news = threading.Condition()
        self._waits = waits
        self._ended = then is None

    @property
    def unread(self) -> int:
        """Kept frames that nobody has taken yet."""
        return len(self._kept) - self._next

    @property
    def waits(self) -> bool:
        """Whether new frames wait for a person's word."""
        return self._waits and not self._ended

    @property
    def alone(self) -> bool:
        """Whether the kept frames are all there is and will be."""
        return self._waits or self._then is None

    def go_on(self) -> None:
        """Take new frames from now on."""
        with self._news:
            self._waits = False
            self._news.notify_all()

    def end(self) -> None:
        """Give the kept frames that are left, and then no more."""
        with self._news:
            self._ended = True
            self._news.notify_all()

    def read(self, timeout_s: float) -> Frame:
        """Give the next frame; a kept one that is damaged raises InputError."""
        if self._next < len(self._kept):
            self._next += 1
            return self._kept[self._next - 1]()
        with self._news:
            if self._waits and not self._ended:
                self._news.wait(timeout_s)
            if self._ended or self._then is None:
                raise EndOfSource
            if self._waits:
                raise SourceStalled("slide was left open", self.name, "say whether it goes on")
        frame = self._then.read(timeout_s)
        return replace(frame, index=frame.index + len(self._kept)) if self._kept else frame

    def close(self) -> None:
        """Leave the other source as it is."""
