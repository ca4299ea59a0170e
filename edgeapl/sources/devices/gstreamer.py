"""A camera behind a GStreamer pipeline, such as a CSI camera of a Jetson."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np

from edgeapl.closable import ClosesItself
from edgeapl.errors import CameraError, ConfigError, EndOfSource
from edgeapl.protocols import Clock
from edgeapl.sources.decoder_messages import captured_messages
from edgeapl.sources.frames import ScaleFor, SystemClock, frame_of_pixels
from edgeapl.types import Frame, UInt8
from edgeapl.wording.printable import printable

SCHEME = "gst://"

_EXAMPLE = (
    "gst://nvarguscamerasrc ! nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! "
    "video/x-raw,format=BGR ! appsink drop=true max-buffers=1"
)


class Pipeline(Protocol):
    """The part of cv2.VideoCapture that is used."""

    def read(self) -> tuple[bool, Any]:
        """Wait for a picture: (True, uint8 (H, W, 3) BGR) or (False, anything)."""

    def release(self) -> None:
        """Release the pipeline."""


class GstreamerSource(ClosesItself):
    """Implements FrameSource over ``gst://PIPELINE``; needs an OpenCV built with GStreamer.

    The pipeline ends in ``appsink drop=true max-buffers=1``, so that a slow reader gets the newest
    picture. `read` waits as long as the pipeline does. OpenCV says neither when a picture was taken
    nor which ones were dropped: `captured_ns` is the time of delivery, and the index has no gaps.

    Parameters
    ----------
    address : as above.
    scale_for : returns µm per px and its origin; a pipeline states no scale.
    clock : for tests; None for the system's.
    open_pipeline : opens a pipeline or raises CameraError; for tests.

    Raises ConfigError for a pipeline that does not end like that, CameraError when it cannot be
    played.
    """

    live = True

    def __init__(
        self,
        address: str,
        scale_for: ScaleFor,
        clock: Clock | None = None,
        open_pipeline: Callable[[str], Pipeline] | None = None,
    ) -> None:
        pipeline = address[len(SCHEME) :].strip()
        self.name = printable(SCHEME + pipeline.split("!")[0].strip())
        _check(pipeline)
        self._scale_for = scale_for
        self._clock = clock or SystemClock()
        self._index = -1
        self._failure: CameraError | None = None
        self._pipeline: Pipeline | None = (open_pipeline or _open)(pipeline)

    def read(self, timeout_s: float) -> Frame:
        """Return the next picture.

        Raises CameraError when the pipeline ends, EndOfSource after close.

        The pipeline decides how long this takes, not `timeout_s`.
        """
        if self._pipeline is None:
            raise EndOfSource
        if self._failure is not None:
            raise self._failure
        try:
            pixels = self._picture(self._pipeline)
        except CameraError as error:
            self._failure = error
            raise
        captured_ns = self._clock.monotonic_ns()
        self._index += 1
        return frame_of_pixels(
            pixels,
            index=self._index,
            captured_ns=captured_ns,
            source=f"{self.name}#{self._index}",
            scale_for=self._scale_for,
        )

    def _picture(self, pipeline: Pipeline) -> UInt8:
        mend = "check the camera and the pipeline"
        try:
            there, image = pipeline.read()
        except cv2.error as error:
            raise CameraError(f"pipeline failed ({error.err})", self.name, mend) from error
        if not there or image is None:
            raise CameraError("pipeline gives no more pictures", self.name, mend)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            mend = "put videoconvert ! video/x-raw,format=BGR before appsink"
            raise CameraError("pipeline gives no 8-bit colour pictures", self.name, mend)
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def close(self) -> None:
        """Stop the pipeline."""
        if self._pipeline is not None:
            self._pipeline.release()
            self._pipeline = None


def _check(pipeline: str) -> None:
    """Raise unless a pipeline ends in an appsink that keeps only the newest picture."""
    end = pipeline.rsplit("!", 1)[-1].split()
    if "\0" in pipeline or end[:1] != ["appsink"]:
        raise ConfigError("pipeline does not end in appsink", printable(pipeline), _EXAMPLE)
    if not {"drop=true", "drop=1"} & set(end) or "max-buffers=1" not in end:
        mend = "end it in appsink drop=true max-buffers=1"
        raise ConfigError("pipeline would give old pictures", printable(pipeline), mend)


def _open(pipeline: str) -> Pipeline:
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        mend = "use JetPack's OpenCV or one built with GStreamer"
        raise CameraError("OpenCV has no GStreamer", f"OpenCV {cv2.__version__}", mend)
    with captured_messages():
        capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        capture.release()
        mend = "try it with gst-launch-1.0, fakesink in place of appsink"
        raise CameraError("pipeline cannot be played", printable(pipeline), mend)
    return capture
