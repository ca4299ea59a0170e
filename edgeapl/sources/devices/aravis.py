"""GigE Vision and USB3 Vision cameras, through Aravis."""

from __future__ import annotations

import ctypes
import os
import time
from contextlib import suppress
from typing import Any, NoReturn

from edgeapl.closable import ClosesItself
from edgeapl.errors import CameraError, ConfigError, EndOfSource, SourceStalled
from edgeapl.protocols import Clock
from edgeapl.sources.devices.aravis_library import (
    CONTINUOUS,
    LOST,
    NO_PACKET_SOCKET,
    SUCCESS,
    Aravis,
    AravisError,
    find_cameras,
)
from edgeapl.sources.devices.aravis_pictures import FORMATS, NAMES, rgb_of_memory
from edgeapl.sources.devices.options import one_of, split_options, whole_number, yes_or_no
from edgeapl.sources.devices.timestamps import CaptureTimes, FrameNumbers
from edgeapl.sources.frames import ScaleFor, SystemClock, frame_of_pixels
from edgeapl.types import Frame, UInt8
from edgeapl.wording.printable import printable

SCHEME = "aravis://"

BUFFERS = 6
"""Pictures that the driver may hold; with more, a slow reader would only see older ones."""

HEARTBEAT_S = 4.0
"""How long a camera stays bound to a program that has died: Aravis's 3 s, plus a margin."""

STOPPING_S = 0.15
"""Time for the picture that a camera is working on when it is stopped."""

_WRAPS_AT = 65535
"""GigE Vision counts pictures in 16 bits and skips 0; longer counters never get there."""

_OPTIONS = {
    "packet_size": whole_number(576, 16384),
    "socket": yes_or_no,
    "pixel_format": one_of(*FORMATS),
    "grey": yes_or_no,
    "exposure_us": whole_number(1, 10_000_000),
}

_MEND = "check its cable and start again"


class AravisSource(ClosesItself):
    """Implements FrameSource over a GigE Vision or USB3 Vision camera.

    ``aravis://NAME``: NAME is an id, a serial number or a network address. Options: ``packet_size``
    in bytes, ``socket=1`` for a plain socket if the program may not open a raw one,
    ``pixel_format``, ``exposure_us``, and ``grey=1`` to accept pictures without colour.

    Always returns the newest picture; gaps in the index are pictures that were lost on the way,
    incomplete, or not read in time.

    Parameters
    ----------
    address : as above.
    scale_for : returns µm per px and its origin; a camera states none.
    clock : for tests; None for the system's.

    identity : vendor, model and serial number; unchanged when it is plugged in again.
    refused : incomplete pictures so far.

    Raises ConfigError for a wrong address, CameraError when the camera cannot be started or
    delivers pictures without colour.
    """

    live = True

    def __init__(self, address: str, scale_for: ScaleFor, clock: Clock | None = None) -> None:
        where, self._options = split_options(address, SCHEME, _OPTIONS)
        self.name = printable(SCHEME + where)
        self.refused = 0
        self._scale_for = scale_for
        self._clock = clock or SystemClock()
        self._numbers = FrameNumbers(_WRAPS_AT)
        self._lost = False
        self._lost_callback = LOST(self._note_lost)
        self._camera: int | None = None
        self._stream: int | None = None
        self._failure: CameraError | None = None
        if not where:
            raise ConfigError("camera has no name", address, "give aravis://NAME_OR_SERIAL")
        self._aravis = Aravis()
        try:
            self._open(where)
        except AravisError as error:
            self.close()
            mend = "check the name, and that no other program uses the camera"
            raise CameraError(f"camera cannot be started ({error})", self.name, mend) from error
        except CameraError:
            self.close()
            raise
        self._moments = CaptureTimes(self._clock)

    def _open(self, where: str) -> None:
        call = self._aravis.call
        self._camera = camera = self._found(where)
        if camera is None:
            raise AravisError("not found")
        self._network = bool(call("camera_is_gv_device", camera))
        self._aravis.on_lost(camera, self._lost_callback)
        names = ("vendor_name", "model_name", "device_serial_number")
        self.identity = " ".join(self._aravis.text(f"camera_get_{name}", camera) for name in names)
        if self._network:
            self._take_control(call("camera_get_device", camera))
        self._stop_old_stream(camera)
        self._set_up(camera)
        self._check_format(camera)
        payload = call("camera_get_payload", camera)
        self._stream = call("camera_create_stream", camera, None, None)
        if self._stream is None:
            raise AravisError("no stream")
        if self._network:
            self._aravis.widen_socket(self._stream)
        for _ in range(BUFFERS):
            call("stream_push_buffer", self._stream, call("buffer_new_allocate", payload))
        call("camera_start_acquisition", camera)

    def _found(self, where: str) -> int | None:
        """Open the camera with this name; None if there is none.

        A camera that answers only after the search is searched for again: Aravis would open it, but
        over the network by which its answer came first, where pictures may never arrive.
        """
        call, name = self._aravis.call, self._id_of(where)
        camera: int | None = call("camera_new", os.fsencode(name or where))
        if camera is None or name is not None or not call("camera_is_gv_device", camera):
            return camera
        self._aravis.unref(camera)
        again: int | None = call("camera_new", os.fsencode(self._id_of(where) or where))
        return again

    def _id_of(self, where: str) -> str | None:
        """Search, and return the id of the camera with this name; None if no answer has it."""
        found = {camera.id for camera in find_cameras(self._aravis) if where in camera.names}
        if len(found) > 1:
            mend = f"give the whole id: {', '.join(sorted(found))}"
            raise CameraError("more than one camera has this name", self.name, mend)
        return found.pop() if found else None

    def _set_up(self, camera: int) -> None:
        """Apply the options to the camera."""
        call, options = self._aravis.call, self._options
        if self._network:
            if options.get("socket"):
                call("camera_gv_set_stream_options", camera, NO_PACKET_SOCKET)
            if "packet_size" in options:
                call("camera_gv_set_packet_size", camera, options["packet_size"])
        elif {"socket", "packet_size"} & set(options):
            mend = "leave out socket and packet_size"
            raise CameraError("camera is not on the network", self.name, mend)
        if "pixel_format" in options:
            wanted = str(options["pixel_format"]).encode()
            call("camera_set_pixel_format_from_string", camera, wanted)
        if "exposure_us" in options:
            call("camera_set_exposure_time", camera, float(str(options["exposure_us"])))
        call("camera_set_acquisition_mode", camera, CONTINUOUS)

    def _take_control(self, device: int) -> None:
        """Become the camera's master, or raise.

        Otherwise the camera opens but takes no orders and sends no pictures. It stays bound to a
        program that crashed until that program's heartbeat has been missing for a while.
        """
        until_ns = self._clock.monotonic_ns() + int(HEARTBEAT_S * 1e9)
        while not self._aravis.call("gv_device_is_controller", device):
            try:
                self._aravis.call("gv_device_take_control", device)
            except AravisError as error:
                if self._clock.monotonic_ns() < until_ns:
                    self._clock.sleep(0.1)
                    continue
                mend = "close the other program"
                raise CameraError("another program has the camera", self.name, mend) from error

    def _stop_old_stream(self, camera: int) -> None:
        """Stop the stream of a program that crashed: its pictures would still go there."""
        # A camera may refuse to stop a stream that is not running.
        with suppress(AravisError):
            self._aravis.call("camera_stop_acquisition", camera)
            self._clock.sleep(STOPPING_S)

    def _check_format(self, camera: int) -> None:
        """Refuse a pixel format that is unknown or has no colour."""
        now = self._aravis.text("camera_get_pixel_format_as_string", camera)
        if now == "Mono8" and self._options.get("grey"):
            return
        if now not in FORMATS or now == "Mono8":
            has = self._aravis.pixel_formats(camera)
            fit = [name for name in FORMATS if name in has and name != "Mono8"]
            mend = f"add ?pixel_format={fit[0]}" if fit else "use a colour camera, or add ?grey=1"
            what = "without colour" if now.startswith("Mono") else "of a kind not understood"
            raise CameraError(f"camera gives pictures {what} ({now})", self.name, mend)

    def read(self, timeout_s: float) -> Frame:
        """Return the newest complete picture that was not returned before.

        Raises SourceStalled when none came in time, CameraError when the camera is lost,
        EndOfSource after close.
        """
        if self._stream is None:
            raise EndOfSource
        if self._failure is not None:
            raise self._failure
        until_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        refused = self.refused
        while True:
            left_us = max(0, until_ns - self._clock.monotonic_ns()) // 1000
            buffer = self._newest(left_us)
            if buffer is not None:
                try:
                    frame = self._frame(buffer)
                finally:
                    self._aravis.call("stream_push_buffer", self._stream, buffer)
                if frame is not None:
                    return frame
            if self._lost:
                self._fail("camera is lost")
            if self._clock.monotonic_ns() >= until_ns:
                self._stall(self.refused - refused)

    def _newest(self, timeout_us: int) -> int | None:
        """Wait for a picture; if several are waiting, all but the last go back to the driver."""
        call = self._aravis.call
        waiting: list[int] = []
        while (buffer := call("stream_try_pop_buffer", self._stream)) is not None:
            waiting.append(buffer)
        # With all buffers full the driver dropped what came since: even the last is old.
        fresh = [] if len(waiting) == BUFFERS else waiting[-1:]
        for old in waiting[: len(waiting) - len(fresh)]:
            self._numbers.index_of(call("buffer_get_frame_id", old))
            self.refused += call("buffer_get_status", old) != SUCCESS
            call("stream_push_buffer", self._stream, old)
        if fresh:
            return fresh[0]
        self._moments.none_waiting()
        # In steps, to notice a lost camera.
        return call("stream_timeout_pop_buffer", self._stream, min(timeout_us, 200_000)) or None

    def _stall(self, refused: int) -> NoReturn:
        if refused:
            what = f"pictures come incomplete ({refused} refused)"
            mend = "set packet_size to what the network takes, such as 1400"
            raise SourceStalled(what, self.name, mend)
        # The raw socket that Aravis prefers sees nothing on some networks, or without rights.
        plain = not self._network or self._options.get("socket")
        mend = "check the camera" if plain else "check the camera, or add socket=1 to its address"
        raise SourceStalled("no picture in time", self.name, mend)

    def _fail(self, what: str) -> NoReturn:
        self._failure = CameraError(what, self.name, _MEND)
        raise self._failure

    def _note_lost(self, device: Any, data: Any) -> None:
        self._lost = True

    def _frame(self, buffer: int) -> Frame | None:
        """Make the frame; None for an incomplete picture."""
        call = self._aravis.call
        index = self._numbers.index_of(call("buffer_get_frame_id", buffer))
        if call("buffer_get_status", buffer) != SUCCESS:
            self.refused += 1
            return None
        # Wall-clock time at which its first packet arrived.
        age_ns = time.time_ns() - call("buffer_get_system_timestamp", buffer)
        return frame_of_pixels(
            self._pixels(buffer),
            index=index,
            captured_ns=self._moments.captured_ns(age_ns),
            source=f"{self.name}#{index}",
            scale_for=self._scale_for,
        )

    def _pixels(self, buffer: int) -> UInt8:
        """Copy a picture out of the driver's memory, as RGB."""
        call = self._aravis.call
        kind = NAMES.get(call("buffer_get_image_pixel_format", buffer), "")
        width, height = (call(f"buffer_get_image_{side}", buffer) for side in ("width", "height"))
        size = ctypes.c_size_t()
        data = call("buffer_get_image_data", buffer, ctypes.byref(size))
        picture = rgb_of_memory(kind, data, size.value, width, height)
        if picture is None:
            self._fail(f"camera gives pictures that do not fit together ({width} x {height})")
        return picture

    def close(self) -> None:
        """Stop and release the camera."""
        camera, self._camera = self._camera, None
        stream, self._stream = self._stream, None
        if camera is None:
            return
        try:
            if stream is not None and not self._lost:
                self._aravis.call("camera_stop_acquisition", camera)
        except AravisError:
            # It no longer answers; it stops by itself when it hears nothing from us.
            self._lost = True
        if stream is not None:
            self._aravis.unref(stream)
        self._aravis.unref(camera)
