"""A camera of this machine, by its number."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from edgeapl.closable import ClosesItself
from edgeapl.errors import CameraError, EndOfSource, SourceStalled
from edgeapl.protocols import Clock
from edgeapl.sources.decoder_messages import captured_messages
from edgeapl.sources.frames import ScaleFor, SystemClock, frame_of_pixels
from edgeapl.types import Frame, UInt8

_CLOSE_S = 2.0
"""How long close waits for a hanging read; after that the thread ends with the program."""

_DEVICES = Path("/dev")


class Device(Protocol):
    """The part of cv2.VideoCapture that is used."""

    def read(self) -> tuple[bool, Any]:
        """Wait for a picture: (True, uint8 (H, W, 3) BGR) or (False, anything)."""

    def release(self) -> None:
        """Release the device."""


class CameraSource(ClosesItself):
    """Implements FrameSource over a camera; always returns the newest frame.

    A thread keeps reading, so a frame is never older than the last exposure, and a hanging driver
    does not block `read`. Frames that were not read in time are dropped, leaving gaps in the index.

    Parameters
    ----------
    number : of the camera, 0 for ``/dev/video0``.
    scale_for : returns µm per px and its origin.
    clock : for tests; None for the system's.
    open_device : opens the camera with a number or raises CameraError; for tests.
    """

    live = True

    def __init__(
        self,
        number: int,
        scale_for: ScaleFor,
        clock: Clock | None = None,
        open_device: Callable[[int], Device] | None = None,
    ) -> None:
        self.name = f"camera {number}"
        self._scale_for = scale_for
        self._clock = clock or SystemClock()
        self._device = (open_device or open_camera)(number)
        self._news = threading.Condition()
        self._newest: tuple[int, int, UInt8] | None = None
        self._failure: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"edgeapl-{number}", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> Frame:
        """Return the newest frame that was not returned before.

        Raises SourceStalled when none came in time, CameraError when the camera stops delivering,
        EndOfSource after close.
        """
        with self._news:
            self._news.wait_for(lambda: self._newest or self._failure or self._closed, timeout_s)
            if self._closed:
                raise EndOfSource
            newest, self._newest = self._newest, None
            if newest is None and self._failure is not None:
                raise self._failure
        if newest is None:
            raise SourceStalled("no picture in time", self.name, "check the camera")
        index, captured_ns, pixels = newest
        return frame_of_pixels(
            pixels,
            index=index,
            captured_ns=captured_ns,
            source=f"{self.name}#{index}",
            scale_for=self._scale_for,
        )

    def _run(self) -> None:
        """Read to the end or until closed; only this thread touches the device."""
        index = 0
        try:
            while not self._closed:
                pixels = self._picture()
                captured_ns = self._clock.monotonic_ns()
                with self._news:
                    self._newest = (index, captured_ns, pixels)
                    self._news.notify_all()
                index += 1
        except BaseException as error:  # noqa: BLE001 - passed to the reading thread
            with self._news:
                self._failure = error
                self._news.notify_all()
        finally:
            self._device.release()

    def _picture(self) -> UInt8:
        mend = "check its cable and start again"
        try:
            there, image = self._device.read()
        except cv2.error as error:
            raise CameraError(f"camera failed ({error.err})", self.name, mend) from error
        if not there or image is None:
            raise CameraError("camera gives no more pictures", self.name, mend)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise CameraError(
                "camera gives no 8-bit colour pictures", self.name, "set it to colour"
            )
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def close(self) -> None:
        """Release the camera."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._thread.join(_CLOSE_S)


def open_camera(number: int) -> Device:
    """Open a camera of this machine. Raises CameraError that names the existing ones."""
    path = _DEVICES / f"video{number}"
    if _DEVICES.is_dir() and not path.exists():
        raise CameraError("no such camera", path, f"cameras here: {_cameras()}")
    with captured_messages():
        device = cv2.VideoCapture(number)
    if not device.isOpened():
        device.release()
        mend = "check that no other program uses it and that you may read it"
        raise CameraError("camera cannot be opened", path, mend)
    return device


def _cameras() -> str:
    numbers = sorted(
        int(path.name[5:]) for path in _DEVICES.glob("video*") if path.name[5:].isdigit()
    )
    return ", ".join(str(number) for number in numbers) or "none"
