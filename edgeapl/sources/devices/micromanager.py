"""A microscope camera driven by Micro-Manager."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from edgeapl.closable import ClosesItself
from edgeapl.errors import CameraError, ConfigError, EndOfSource, SourceStalled
from edgeapl.protocols import Clock
from edgeapl.sources.devices.colour import MOSAICS, as_rgb
from edgeapl.sources.devices.options import one_of, split_options, whole_number, yes_or_no
from edgeapl.sources.devices.timestamps import CaptureTimes, FrameNumbers
from edgeapl.sources.frames import ScaleFor, SystemClock, frame_of_pixels
from edgeapl.types import Frame, ScaleOrigin, UInt8
from edgeapl.wording.printable import printable

SCHEME = "mm://"
DEMO = "demo"

POLL_S = 0.002
"""How often the driver's buffer is polled; a tenth of a fast camera's frame time."""

_FAILS = (RuntimeError, OSError)
"""Exceptions that drivers raise."""

_LOAD_FAILS = (*_FAILS, ValueError, ImportError, AttributeError, TypeError)
"""Exceptions raised while loading a configuration; the last three come from Python devices."""

_OPTIONS = {
    "mosaic": one_of(*MOSAICS),
    "grey": yes_or_no,
    "python": yes_or_no,
    "exposure_ms": whole_number(1, 10_000),
    "width": whole_number(16, 8192),
    "height": whole_number(16, 8192),
}


class MicroManagerSource(ClosesItself):
    """Implements FrameSource over the camera of a Micro-Manager configuration.

    ``mm://path/to/config.cfg`` loads that file; ``mm://demo`` is Micro-Manager's own DemoCamera.
    Options: ``mosaic=RGGB`` for a sensor whose colour mosaic the driver leaves in, ``grey=1`` to
    accept pictures without colour, ``exposure_ms``, ``python=1`` to let the file load devices
    written in Python, which runs their code, and ``width``, ``height`` of the DemoCamera.

    Always returns the newest picture; gaps in the index are pictures that were not read in time.
    The scale is the stated one, else the configuration's pixel size, else that of `scale_for`.

    Parameters
    ----------
    address : as above.
    scale_for : returns µm per px and its origin.
    clock : for tests; None for the system's.
    core : a Micro-Manager core with a camera, used instead of loading one; closed at the end.

    identity : driver, camera and its own id; unchanged when it is plugged in again.

    Raises ConfigError for a wrong address, CameraError when the camera cannot be started.
    """

    live = True

    def __init__(
        self, address: str, scale_for: ScaleFor, clock: Clock | None = None, core: Any = None
    ) -> None:
        where, options = split_options(address, SCHEME, _OPTIONS)
        self.name = printable(SCHEME + where)
        self._options = options
        self._scale_for = scale_for
        self._clock = clock or SystemClock()
        self._numbers = FrameNumbers()
        self._failure: CameraError | None = None
        self._core: Any = None
        _check_options(where, options)
        made = core if core is not None else _new_core(where, options)
        try:
            if core is None:
                _load(made, where, options)
            self.identity = self._start(made)
        except _LOAD_FAILS as error:
            _let_go(made)
            mend = "check the configuration, and that no other program uses the camera"
            raise CameraError(f"camera failed ({_line(error)})", self.name, mend) from error
        except CameraError:
            _let_go(made)
            raise
        self._core = made
        self._moments = CaptureTimes(self._clock)

    def _start(self, core: Any) -> str:
        """Start the stream, and return the camera's identity."""
        camera = core.getCameraDevice()
        if not camera:
            mend = "name one in the configuration, as `Property,Core,Camera,NAME`"
            raise CameraError("configuration has no camera", self.name, mend)
        if "exposure_ms" in self._options:
            core.setExposure(float(str(self._options["exposure_ms"])))
        self._depth = int(core.getImageBitDepth())
        core.startContinuousSequenceAcquisition(0)
        parts = [core.getDeviceLibrary(camera), core.getDeviceName(camera)]
        if core.hasProperty(camera, "CameraID"):
            parts.append(core.getProperty(camera, "CameraID"))
        return printable(" ".join(str(part) for part in parts))

    def read(self, timeout_s: float) -> Frame:
        """Return the newest picture that was not returned before.

        Raises SourceStalled when none came in time, CameraError when the camera failed, EndOfSource
        after close.
        """
        if self._core is None:
            raise EndOfSource
        if self._failure is not None:
            raise self._failure
        try:
            return self._frame(*self._newest(timeout_s))
        except SourceStalled:
            raise
        except CameraError as error:
            self._failure = error
            raise
        except _FAILS as error:
            self._fail(f"camera failed ({_line(error)})")

    def _fail(self, what: str) -> NoReturn:
        self._failure = CameraError(what, self.name, "check its cable and start again")
        raise self._failure

    def _newest(self, timeout_s: float) -> tuple[Any, Any]:
        """Wait for a picture and its tags; if several are waiting, all but the last are dropped."""
        until_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while not (waiting := self._core.getRemainingImageCount()):
            self._moments.none_waiting()
            if self._clock.monotonic_ns() >= until_ns:
                if not self._core.isSequenceRunning():
                    self._fail("camera gives no more pictures")
                raise SourceStalled("no picture in time", self.name, "check the camera")
            self._clock.sleep(POLL_S)
        for _ in range(waiting - 1):
            _, tags = self._core.popNextImageAndMD()
            self._numbers.index_of(_number(tags))
        picture, tags = self._core.popNextImageAndMD()
        return picture, tags

    def _frame(self, picture: Any, tags: Any) -> Frame:
        captured_ns = self._moments.captured_ns(_age_ns(tags))
        index = self._numbers.index_of(_number(tags))
        options = self._options
        pixels = as_rgb(
            picture,
            self._depth,
            self.name,
            mosaic=str(options.get("mosaic", "")),
            grey=bool(options.get("grey")),
        )
        return frame_of_pixels(
            pixels,
            index=index,
            captured_ns=captured_ns,
            source=f"{self.name}#{index}",
            scale_for=self._scale,
        )

    def _scale(self, pixels: UInt8) -> tuple[float, ScaleOrigin]:
        um_per_px, origin = self._scale_for(pixels)
        configured = float(self._core.getPixelSizeUm(True))
        # Micro-Manager reports 0 if no pixel size is configured.
        if origin is not ScaleOrigin.STATED and math.isfinite(configured) and configured > 0:
            return configured, ScaleOrigin.STATED
        return um_per_px, origin

    def close(self) -> None:
        """Stop the stream and release the camera."""
        if self._core is not None:
            core, self._core = self._core, None
            _let_go(core)


def _check_options(where: str, options: dict[str, object]) -> None:
    if where != DEMO:
        if not where or "\0" in where or not Path(where).is_file():
            mend = "give mm://path/to/config.cfg or mm://demo"
            raise ConfigError("Micro-Manager configuration does not exist", printable(where), mend)
        if {"width", "height"} & set(options):
            mend = "set the size in the configuration"
            raise ConfigError("only mm://demo takes a size", printable(where), mend)
    if options.get("grey") and options.get("mosaic"):
        raise ConfigError("grey and mosaic exclude each other", printable(where), "leave one out")


def _new_core(where: str, options: dict[str, object]) -> Any:
    """Create a core without devices. Raises CameraError when a package is missing."""
    # Unless set by the user: it would log to the home folder, which may not be writable.
    os.environ.setdefault("PYMM_LOG_FILE", os.devnull)
    try:
        from pymmcore_plus import CMMCorePlus as Core  # noqa: PLC0415 - an extra

        if options.get("python"):
            from pymmcore_plus.experimental.unicore import (  # noqa: PLC0415
                UniMMCore as Core,
            )
        core = Core()
    except ImportError as error:
        mend = "pip install 'edgeapl[cameras]'"
        raise CameraError("pymmcore-plus is not installed", SCHEME + where, mend) from error
    if where == DEMO:
        core.setDeviceAdapterSearchPaths([_demo_adapters()])
    return core


def _demo_adapters() -> str:
    try:
        import mm_test_adapters  # noqa: PLC0415 - brings the DemoCamera's library
    except ImportError as error:
        mend = "pip install mm-test-adapters"
        raise CameraError("DemoCamera is not installed", "mm://demo", mend) from error
    return str(mm_test_adapters.device_adapter_path())


def _load(core: Any, where: str, options: dict[str, object]) -> None:
    if where != DEMO:
        core.loadSystemConfiguration(where)
        return
    core.loadDevice("Camera", "DemoCamera", "DCam")
    core.initializeDevice("Camera")
    core.setCameraDevice("Camera")
    core.setProperty("Camera", "PixelType", "32bitRGB")
    core.setProperty("Camera", "OnCameraCCDXSize", options.get("width", 1280))
    core.setProperty("Camera", "OnCameraCCDYSize", options.get("height", 960))
    # FastImage would repeat one black picture; moving waves show that the camera works.
    core.setProperty("Camera", "FastImage", 0)
    core.setExposure(30.0)


def _let_go(core: Any) -> None:
    # Nothing can be done about a device that fails while it is released.
    with suppress(RuntimeError):
        core.stopSequenceAcquisition()
    with suppress(RuntimeError):
        core.unloadAllDevices()


def _number(tags: Any) -> int | None:
    """Return the driver's number of the picture."""
    text = str(tags.get("ImageNumber", ""))
    return int(text) if text.isascii() and text.isdigit() else None


def _age_ns(tags: Any) -> int | None:
    """Return how long ago Micro-Manager got the picture; its timestamp is local time, no zone."""
    try:
        stamp = datetime.fromisoformat(str(tags.get("TimeReceivedByCore", "")))
    except ValueError:
        return None
    seconds = (datetime.now(stamp.tzinfo) - stamp).total_seconds()
    return int(seconds * 1e9)


def _line(error: BaseException) -> str:
    """Return a driver's message, often of many lines, as one line of limited length."""
    text = " ".join(printable(" ".join(str(error).split())).split())
    return text if len(text) <= 200 else text[:199] + "…"
