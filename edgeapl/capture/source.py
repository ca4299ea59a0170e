"""A camera as a source of frames, whose process is supervised."""

from __future__ import annotations

from collections.abc import Callable

from edgeapl.capture.feed import CameraFeed
from edgeapl.capture.health import CameraHealth, Limits
from edgeapl.capture.process import Capture, CaptureProcess
from edgeapl.capture.supervisor import CameraSupervisor
from edgeapl.closable import ClosesItself
from edgeapl.protocols import Clock
from edgeapl.sources.frames import ScaleFor, SystemClock
from edgeapl.types import Frame, ScaleOrigin


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
    limits, clock, launch : tests have their own.
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
        limits, clock = limits or Limits(), clock or SystemClock()
        self._scale_for = scale_for
        self._feed = CameraFeed(address, limits.oldest_s, clock)
        self._supervisor = CameraSupervisor(
            self._feed,
            lambda: launch(address),
            limits,
            clock,
            is_patient=patient,
            serial=serial,
        )
        self._supervisor.start()

    @property
    def name(self) -> str:
        """What the camera calls itself; its address until it is open."""
        return self._feed.name

    def health(self) -> CameraHealth:
        """Return how the camera is now."""
        return self._feed.health

    def read(self, timeout_s: float) -> Frame:
        """Return the newest picture that was not given yet and is not too old.

        Raises SourceStalled when none came in time, CameraError when the camera was given up,
        ConfigError or UsageError when its address is wrong, EndOfSource after the last picture.
        """
        picture, pixels = self._feed.take(timeout_s)
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

    def wait_until_open(self) -> None:
        """Wait for the first picture, or until it is plain that none comes soon.

        Raises what `read` would when the camera was given up.
        """
        self._feed.wait_until_open()

    def close(self) -> None:
        """End the capture process."""
        self._feed.close()
        self._supervisor.close()
