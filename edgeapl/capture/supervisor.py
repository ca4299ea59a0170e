"""A camera that is watched over: lost, started again and live again, and always said so."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from edgeapl.capture.health import CameraHealth, CameraState, Limits, RestartBudget
from edgeapl.capture.messages import Ended, Message, Opened, Picture, Trouble, trouble_of
from edgeapl.capture.process import Capture, CaptureProcess
from edgeapl.closable import ClosesItself
from edgeapl.errors import CameraError, EdgeAplError, EndOfSource, InputError, SourceStalled
from edgeapl.logs import note, warn
from edgeapl.protocols import Clock
from edgeapl.sources.frames import ScaleFor, SystemClock
from edgeapl.types import Frame, ScaleOrigin, UInt8

LOOK_S = 0.1
"""How often the supervisor looks whether the camera is silent."""

_RATE_PICTURES = 30
_SAME_PICTURES = 5


class SupervisedSource(ClosesItself):
    """Implements FrameSource over a camera in a child process; gives the newest picture.

    Parameters
    ----------
    address : of a camera; see `edgeapl.sources.address.open_device`.
    scale_for : gives µm per px and its origin; a scale that the camera states is preferred to one
        that is not stated.
    patient : keep trying when the camera cannot even be opened at the start, as a station that is
        switched on before its camera must; else `read` raises that error.
    serial : must be part of the camera's identity; another camera is not taken.
    limits, clock, launch : tests give their own.
    """

    live = True

    def __init__(
        self,
        address: str,
        scale_for: ScaleFor,
        *,
        patient: bool = False,
        serial: str | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
        launch: Callable[[str], Capture] = CaptureProcess,
    ) -> None:
        self.name = address
        self._address = address
        self._scale_for = scale_for
        self._patient = patient
        self._serial = serial
        self._limits = limits or Limits()
        self._clock = clock or SystemClock()
        self._launch = launch
        self._budget = RestartBudget(self._limits)
        self._news = threading.Condition()
        self._health = CameraHealth()
        self._capture: Capture | None = None
        self._waiting: Picture | None = None
        self._unread: deque[EdgeAplError] = deque()
        self._failure: EdgeAplError | None = None
        self._ended = False
        self._closed = threading.Event()
        self._identity = ""
        self._size = (0, 0)
        self._first_index = 0
        self._next_index = 0
        self._same: tuple[str, int, int] = ("", 0, 0)  # digest, first seen ns, how often
        self._times: deque[int] = deque(maxlen=_RATE_PICTURES)
        self._slowest_opening_s = 0.0
        self._thread = threading.Thread(target=self._run, name="edgeapl-camera", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> Frame:
        """Give the newest picture that was not given yet and is not too old.

        Raises SourceStalled when none came in time, CameraError when the camera was given up,
        ConfigError or UsageError when its address is wrong, EndOfSource after the last picture.
        """
        with self._news:
            self._news.wait_for(self._has_something, timeout_s)
            if self._closed.is_set():
                raise EndOfSource
            if self._unread:
                raise self._unread.popleft()
            taken = self._take()
            if taken is None:
                if self._failure is not None:
                    raise self._failure
                if self._ended:
                    raise EndOfSource
                text = self._health.text or "no picture in time"
                raise SourceStalled(text, self.name, "check the camera")
        return self._frame(*taken)

    def wait_until_open(self) -> None:
        """Wait for the first picture, or until it is plain that none comes soon.

        Raises what `read` would when the camera was given up.
        """
        with self._news:
            self._news.wait_for(lambda: self._health.state is not CameraState.OPENING)
            if self._failure is not None:
                raise self._failure

    def health(self) -> CameraHealth:
        """Give how the camera is now."""
        with self._news:
            return self._health

    def close(self) -> None:
        """End the capture process."""
        self._closed.set()
        with self._news:
            self._news.notify_all()
        self._thread.join()

    def _has_something(self) -> bool:
        if self._waiting is not None and self._age_s(self._waiting) > self._limits.oldest_s:
            self._give_back()
            self._update(refused=self._health.refused + 1)
        return bool(
            self._waiting or self._unread or self._failure or self._ended or self._closed.is_set()
        )

    def _take(self) -> tuple[Picture, UInt8] | None:
        """Copy the waiting picture; inside the lock, so that no new process writes over it."""
        picture, capture = self._waiting, self._capture
        if picture is None or capture is None:
            return None
        pixels = capture.picture(picture.slot, picture.height, picture.width)
        self._give_back()
        return picture, pixels

    def _give_back(self) -> None:
        if self._waiting is not None and self._capture is not None:
            self._capture.give_back(self._waiting.slot)
        self._waiting = None

    def _frame(self, picture: Picture, pixels: UInt8) -> Frame:
        um_per_px, origin = self._scale_for(pixels)
        if origin is not ScaleOrigin.STATED and picture.um_per_px is not None:
            um_per_px, origin = picture.um_per_px, ScaleOrigin.STATED
        return Frame(
            pixels=pixels,
            index=picture.index,
            captured_ns=picture.captured_ns,
            um_per_px=um_per_px,
            source=picture.source,
            digest=picture.digest,
            scale=origin,
        )

    # What follows runs in the supervising thread.

    def _run(self) -> None:
        while not self._closed.is_set():
            before = self._health.received
            crashed = self._one_life()
            if self._failure is not None or self._ended:
                return
            gave = self._health.received > before
            wait_s = self._budget.wait_s(self._now_s(), gave_pictures=gave, crashed=crashed)
            if not self._closed.wait(wait_s):
                self._update(restarts=self._health.restarts + 1)

    def _one_life(self) -> bool:
        """Start the process and serve it until it ends, hangs or is no longer wanted.

        Gives whether it crashed.
        """
        capture = self._launch(self._address)
        with self._news:
            self._capture = capture
        seen = self._health.received
        last_ns = self._clock.monotonic_ns()
        try:
            while not self._closed.is_set():
                for message in capture.messages(LOOK_S):
                    if not self._handle(message):
                        return False
                    tries_again = isinstance(message, Trouble) and message.again
                    if isinstance(message, Picture) or tries_again:  # each try has its own time
                        now_ns = self._clock.monotonic_ns()
                        if self._health.received == seen + 1 and not tries_again:
                            self._note_opening((now_ns - last_ns) / 1e9)
                        last_ns = now_ns
                silent_s = (self._clock.monotonic_ns() - last_ns) / 1e9
                how = capture.ended()
                if how is not None:
                    self._lost(f"the camera's driver stopped ({how}); it is started again")
                    return True
                if silent_s > self._limit_s(seen):
                    self._lost("no picture from the camera; it is started again")
                    return False
            return False
        except ValueError as error:
            self._lost(f"the capture process is confused ({error}); it is started again")
            return True
        finally:
            with self._news:
                self._waiting = None
                self._capture = None
                self._first_index = self._next_index
            capture.kill()

    def _limit_s(self, seen_before: int) -> float:
        if self._health.received > seen_before:
            return self._limits.silent_s
        limits, failed = self._limits, self._budget.failed
        if not self._health.received or (failed >= limits.impatient and failed % 2):
            return limits.opening_s
        return min(limits.opening_s, max(limits.reopening_s, 2 * self._slowest_opening_s))

    def _note_opening(self, took_s: float) -> None:
        self._slowest_opening_s = max(self._slowest_opening_s, took_s)

    def _handle(self, message: Message) -> bool:
        """Take a message; False when this life of the process is over."""
        if isinstance(message, Picture):
            self._take_in(message)
        elif isinstance(message, Opened):
            return self._recognise(message)
        elif isinstance(message, Trouble):
            return self._note(message)
        elif isinstance(message, Ended):
            self._ended = True
            self._update(state=CameraState.ENDED, text="")
            return False
        return True

    def _take_in(self, picture: Picture) -> None:
        with self._news:
            dropped = self._waiting is not None
            self._give_back()
            index = self._first_index + picture.index
            self._next_index = index + 1
            self._waiting = replace(picture, index=index)
            self._times.append(picture.captured_ns)
            state, text = self._judged(picture)
            self._update(
                state=state,
                text=text,
                width=picture.width,
                height=picture.height,
                frames_per_s=self._rate(),
                newest_ns=picture.captured_ns,
                received=self._health.received + 1,
                dropped=self._health.dropped + dropped,
            )

    def _judged(self, picture: Picture) -> tuple[CameraState, str]:
        digest, since_ns, count = self._same
        if picture.digest != digest:
            since_ns, count = picture.captured_ns, 0
        self._same = (picture.digest, since_ns, count + 1)
        same_s = (picture.captured_ns - since_ns) / 1e9
        if same_s > self._limits.frozen_s and count >= _SAME_PICTURES:
            limit = f"{self._limits.frozen_s:g} s"
            text = f"the picture has not changed for more than {limit}: check the camera"
            return CameraState.FROZEN, text
        size = (picture.width, picture.height)
        if self._size == (0, 0):
            self._size = size
        if size != self._size:
            was, now = (f"{width} x {height}" for width, height in (self._size, size))
            text = f"the picture was {was} px and is {now} px now: check the scale"
            return CameraState.LIVE, text
        return CameraState.LIVE, ""

    def _recognise(self, opened: Opened) -> bool:
        if self._serial is not None and self._serial not in opened.identity:
            which = opened.identity or "a camera that does not say which it is"
            error = CameraError(
                "another camera than the station file says", which, f"expected {self._serial}"
            )
            return self._note(trouble_of(error, fatal=True))
        if self._identity and opened.identity and opened.identity != self._identity:
            text = f"another camera answers: {opened.identity} in place of {self._identity}"
            self._lost(f"{text}; put the first one back or start the station again")
            return False
        self._identity = self._identity or opened.identity
        self.name = opened.name
        return True

    def _note(self, trouble: Trouble) -> bool:
        error = trouble.error()
        if not trouble.fatal:
            with self._news:
                self._unread.append(error)
                self._news.notify_all()
            return True
        hopeless = not isinstance(error, CameraError)
        if hopeless or not (self._patient or self._health.received):
            if isinstance(error, InputError):  # of a whole source, not of one picture
                error = CameraError(error.what, error.which, error.mend)
            self._failure = error
            self._update(state=CameraState.FAILED, text=str(error))
            return False
        self._lost(str(error))
        return trouble.again

    def _lost(self, text: str) -> None:
        self._update(state=CameraState.LOST, text=text, frames_per_s=0.0)
        self._times.clear()

    def _update(self, **changes: object) -> None:
        with self._news:
            before = self._health
            self._health = replace(self._health, **changes)  # type: ignore[arg-type]
            self._news.notify_all()
        _record(self.name, before, self._health)

    def _rate(self) -> float:
        if len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) * 1e9 / max(1, self._times[-1] - self._times[0])

    def _age_s(self, picture: Picture) -> float:
        return (self._clock.monotonic_ns() - picture.captured_ns) / 1e9

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9


def _record(camera: str, before: CameraHealth, now: CameraHealth) -> None:
    """Note what changed about a camera; pictures alone are not worth a line."""
    if now.restarts != before.restarts:
        text = f"{camera}: its driver is started again, restart {now.restarts}"
        note("camera", "camera_restarted", text, camera=camera, restarts=now.restarts)
    if (now.state, now.text) != (before.state, before.text):
        say = note if now.state in (CameraState.LIVE, CameraState.ENDED) and not now.text else warn
        text = f"{camera}: {now.state.value}" + (f": {now.text}" if now.text else "")
        say("camera", f"camera_{now.state.value}", text, camera=camera, received=now.received)
