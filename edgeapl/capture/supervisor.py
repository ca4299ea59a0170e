"""Keeps a camera's process alive: lost, started again and live again, and always said so."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from edgeapl.capture.feed import CameraFeed
from edgeapl.capture.health import CameraState, Limits
from edgeapl.capture.messages import Ended, Failed, Opened, Picture, Reply, failed
from edgeapl.capture.pictures import PictureHistory
from edgeapl.capture.process import Capture
from edgeapl.capture.restart import RestartDelay
from edgeapl.errors import CameraError, InputError
from edgeapl.process.exit import Exit
from edgeapl.process.messages import MessageError
from edgeapl.process.supervisor import Supervisor
from edgeapl.protocols import Clock

LOOK_S = 0.1
"""How often the supervisor looks whether the camera is silent."""

GRACE_S = 0.5
"""For a process that has closed its pipe and is about to end by itself, so that its exit code is
known."""


class End(Enum):
    """Why a process is over."""

    DIED = auto()  # by itself
    CONFUSED = auto()  # it broke the rules
    LOST = auto()  # its camera is silent, away or another one
    DONE = auto()  # no other is wanted


class CameraSupervisor(Supervisor[Capture, End]):
    """Starts the capture process of a camera and fills a feed from it.

    Parameters
    ----------
    launch : starts a process.
    is_patient, serial : as of `SupervisedSource`.
    """

    def __init__(
        self,
        feed: CameraFeed,
        launch: Callable[[], Capture],
        limits: Limits,
        clock: Clock,
        *,
        is_patient: bool,
        serial: str | None,
    ) -> None:
        super().__init__("edgeapl-camera")
        self._feed = feed
        self._launch_capture = launch
        self._limits = limits
        self._clock = clock
        self._is_patient = is_patient
        self._serial = serial
        self._delay = RestartDelay(limits)
        self._pictures = PictureHistory(limits.frozen_s)
        self._identity = ""
        self._received_before = 0
        self._slowest_opening_s = 0.0
        self._was_started = False
        self._is_done = False

    def _launch(self) -> Capture:
        if self._was_started:
            self._feed.change(restarts=self._feed.health.restarts + 1)
        self._was_started = True
        self._pictures.start_process()
        self._received_before = self._feed.health.received
        return self._launch_capture()

    def _attend(self, child: Capture) -> End:
        self._feed.attach(child)
        try:
            return self._serve(child)
        finally:
            self._feed.detach()

    def _serve(self, child: Capture) -> End:
        last_ns = self._clock.monotonic_ns()
        while not self._is_closing:
            messages = child.receive(LOOK_S, self._wakeup.descriptor)
            if messages is None:
                return End.DIED
            for message in messages:
                if not self._handle(message):
                    return End.DONE if self._is_done else End.LOST
                tries_again = isinstance(message, Failed) and message.tries_again
                if isinstance(message, Picture) or tries_again:  # each try has its own time
                    now_ns = self._clock.monotonic_ns()
                    if self._given == 1 and not tries_again:
                        took_s = (now_ns - last_ns) / 1e9
                        self._slowest_opening_s = max(self._slowest_opening_s, took_s)
                    last_ns = now_ns
            if (self._clock.monotonic_ns() - last_ns) / 1e9 > self._limit_s():
                self._lost("no picture from the camera; it is started again")
                return End.LOST
        return End.DONE

    def _confused(self, error: MessageError) -> End:
        self._lost(f"the capture process is confused ({error}); it is started again")
        return End.CONFUSED

    def _grace_s(self, end: End) -> float:
        return GRACE_S if end is End.DIED else 0.0

    def _not_started(self, error: OSError) -> float | None:
        self._lost(f"the capture process cannot be started ({error.strerror}); it is tried again")
        return self._delay.after(self._now_s(), gave_pictures=False, crashed=True)

    def _ended(self, end: End, how: Exit) -> float | None:
        if end is End.DONE:
            return None
        if end is End.DIED:
            self._lost(f"the camera's driver stopped ({how}); it is started again")
        elif how.is_stuck:
            self._lost(f"the camera's driver is stuck ({how}); another process is started")
        crashed = end in (End.DIED, End.CONFUSED)
        return self._delay.after(self._now_s(), gave_pictures=self._given > 0, crashed=crashed)

    def _over(self) -> None:
        if not (self._is_closing or self._is_done):
            text = "look into the log, then start the station again"
            self._feed.fail(CameraError("camera is no longer supervised", self._feed.name, text))

    @property
    def _given(self) -> int:
        """Pictures of this process."""
        return self._feed.health.received - self._received_before

    def _limit_s(self) -> float:
        if self._given:
            return self._limits.silent_s
        limits, failed_before = self._limits, self._delay.failed
        waits_long = failed_before >= limits.impatient and failed_before % 2
        if not self._feed.health.received or waits_long:
            return limits.opening_s
        return min(limits.opening_s, max(limits.reopening_s, 2 * self._slowest_opening_s))

    def _handle(self, message: Reply) -> bool:
        """Take a message; False when this life of the process is over."""
        if isinstance(message, Picture):
            picture, state, text = self._pictures.add(message)
            self._feed.offer(picture, state, text, self._pictures.frames_per_s)
        elif isinstance(message, Opened):
            return self._recognise(message)
        elif isinstance(message, Failed):
            return self._note(message)
        elif isinstance(message, Ended):
            self._is_done = True
            self._feed.change(state=CameraState.ENDED, text="")
            return False
        return True

    def _recognise(self, opened: Opened) -> bool:
        if self._serial is not None and self._serial not in opened.identity:
            which = opened.identity or "a camera that does not say which it is"
            error = CameraError(
                "another camera than the station file says", which, f"expected {self._serial}"
            )
            return self._note(failed(error, is_fatal=True))
        if self._identity and opened.identity and opened.identity != self._identity:
            text = f"another camera answers: {opened.identity} in place of {self._identity}"
            self._lost(f"{text}; put the first one back or start the station again")
            return False
        self._identity = self._identity or opened.identity
        self._feed.name = opened.name
        return True

    def _note(self, message: Failed) -> bool:
        error = message.failure.make()
        if not message.is_fatal:
            self._feed.report(error)
            return True
        is_hopeless = not isinstance(error, CameraError)
        if is_hopeless or not (self._is_patient or self._feed.health.received):
            if isinstance(error, InputError):  # of a whole source, not of one picture
                error = CameraError(error.what, error.which, error.mend)
            self._is_done = True
            self._feed.fail(error)
            return False
        self._lost(str(error))
        return message.tries_again

    def _lost(self, text: str) -> None:
        self._feed.change(state=CameraState.LOST, text=text, frames_per_s=0.0)
        self._pictures.forget_rate()

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9
