"""What readers of a camera and the thread that supervises it share."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace

from edgeapl.capture.health import CameraHealth, CameraState
from edgeapl.capture.messages import Picture
from edgeapl.capture.process import Capture
from edgeapl.errors import EdgeAplError, EndOfSource, SourceStalled
from edgeapl.logs import note, warn
from edgeapl.protocols import Clock
from edgeapl.types import UInt8


class CameraFeed:
    """The newest picture, the errors that nobody has heard of yet, and how the camera is.

    Parameters
    ----------
    name : of the camera. oldest_s : a picture older than this is not given.
    """

    def __init__(self, name: str, oldest_s: float, clock: Clock) -> None:
        self.name = name
        self._oldest_s = oldest_s
        self._clock = clock
        self._news = threading.Condition()
        self._health = CameraHealth()
        self._capture: Capture | None = None
        self._waiting: Picture | None = None
        self._unread: deque[EdgeAplError] = deque()
        self._failure: EdgeAplError | None = None
        self._is_closed = False

    @property
    def health(self) -> CameraHealth:
        """How the camera is now."""
        with self._news:
            return self._health

    def take(self, timeout_s: float) -> tuple[Picture, UInt8]:
        """Wait for a picture that was not taken yet; returns it with a copy of its pixels.

        Raises what `SupervisedSource.read` does.
        """
        with self._news:
            self._news.wait_for(self._has_something, timeout_s)
            if self._is_closed:
                raise EndOfSource
            if self._unread:
                raise self._unread.popleft()
            picture, capture = self._waiting, self._capture
            if picture is not None and capture is not None:
                # Inside the lock, so that no new process writes over it.
                pixels = capture.pixels(picture)
                self._release()
                return picture, pixels
            if self._failure is not None:
                raise self._failure
            if self._health.state is CameraState.ENDED:
                raise EndOfSource
            text = self._health.text or "no picture in time"
            raise SourceStalled(text, self.name, "check the camera")

    def wait_until_open(self) -> None:
        """Wait for the first picture, or until it is plain that none comes soon.

        Raises the error for which the camera was given up.
        """
        with self._news:
            self._news.wait_for(lambda: self._health.state is not CameraState.OPENING)
            if self._failure is not None:
                raise self._failure

    def close(self) -> None:
        """Let every reader go."""
        with self._news:
            self._is_closed = True
            self._news.notify_all()

    # What follows is for the supervising thread.

    def attach(self, capture: Capture) -> None:
        """Take pictures from this process."""
        with self._news:
            self._capture = capture

    def detach(self) -> None:
        """Take none any more, not even the one that waits."""
        with self._news:
            self._waiting = None
            self._capture = None

    def offer(self, picture: Picture, state: CameraState, text: str, frames_per_s: float) -> None:
        """Let readers have a picture in place of the one before. text : what is wrong with it."""
        with self._news:
            dropped = self._waiting is not None
            self._release()
            self._waiting = picture
            width, height = picture.size
            self.change(
                state=state,
                text=text,
                width=width,
                height=height,
                frames_per_s=frames_per_s,
                newest_ns=picture.captured_ns,
                received=self._health.received + 1,
                dropped=self._health.dropped + dropped,
            )

    def report(self, error: EdgeAplError) -> None:
        """Let one reader hear of an error after which pictures still come."""
        with self._news:
            self._unread.append(error)
            self._news.notify_all()

    def fail(self, error: EdgeAplError) -> None:
        """Note that the camera was given up: every reader hears why."""
        with self._news:
            self._failure = error
            self.change(state=CameraState.FAILED, text=str(error))

    def change(self, **changes: object) -> None:
        """Change fields of the health."""
        with self._news:
            before = self._health
            self._health = replace(before, **changes)  # type: ignore[arg-type]
            self._news.notify_all()
        log_change(self.name, before, self._health)

    def _has_something(self) -> bool:
        if self._waiting is not None:
            age_s = (self._clock.monotonic_ns() - self._waiting.captured_ns) / 1e9
            if age_s > self._oldest_s:
                self._release()
                self.change(refused=self._health.refused + 1)
        ended = self._health.state is CameraState.ENDED
        return bool(self._waiting or self._unread or self._failure or ended or self._is_closed)

    def _release(self) -> None:
        if self._waiting is not None and self._capture is not None:
            self._capture.release(self._waiting)
        self._waiting = None


def log_change(camera: str, before: CameraHealth, now: CameraHealth) -> None:
    """Note what changed about a camera; pictures alone are not worth a line."""
    if now.restarts != before.restarts:
        text = f"{camera}: its driver is started again, restart {now.restarts}"
        note("camera", "camera_restarted", text, camera=camera, restarts=now.restarts)
    if (now.state, now.text) != (before.state, before.text):
        say = note if now.state in (CameraState.LIVE, CameraState.ENDED) and not now.text else warn
        text = f"{camera}: {now.state.value}" + (f": {now.text}" if now.text else "")
        say("camera", f"camera_{now.state.value}", text, camera=camera, received=now.received)
