"""A network camera that streams over RTSP."""

from __future__ import annotations

import time
from collections import deque
from fractions import Fraction
from typing import Any, NoReturn
from urllib.parse import urlsplit

import numpy as np

from edgeapl.closable import ClosesItself
from edgeapl.errors import CameraError, ConfigError, EndOfSource, SourceStalled
from edgeapl.protocols import Clock
from edgeapl.sources.devices.timestamps import PresentationTimes
from edgeapl.sources.frames import ScaleFor, SystemClock, frame_of_pixels
from edgeapl.types import Frame
from edgeapl.wording.printable import printable

SOCKET_S = 3.0
"""Longest silence of the network; after it, picture boundaries in the stream are lost."""

LATE_S = 1.0
"""Pictures later than this are refused: they waited in a buffer and show the past."""

_SILENT = f"camera sends nothing for {SOCKET_S:g} s"
_MEND = "check the camera, its network and its address"

_OPTIONS = {
    # UDP loses packets silently, and a picture with a hole looks like a picture.
    "rtsp_transport": "tcp",
    # Sound would cost bandwidth, and tie the pictures' times to its own.
    "allowed_media_types": "video",
    # A camera's reply may redirect us: allow only these, never files or http.
    "protocol_whitelist": "tcp,tls,rtp",
    "timeout": str(int(SOCKET_S * 1e6)),
    "fflags": "nobuffer",
    "flags": "low_delay",
    "max_delay": "0",
    "reorder_queue_size": "0",
    "analyzeduration": "1000000",
    "fpsprobesize": "0",
}


class RtspSource(ClosesItself):
    """Implements FrameSource over an ``rtsp://`` or ``rtsps://`` address, TCP only.

    `read` may take up to SOCKET_S longer than asked if the network falls silent; the source has
    then failed for good and must be opened again. Pictures that are damaged or more than LATE_S
    late are refused, leaving gaps in the index.

    Parameters
    ----------
    address : may hold user and password; neither is ever shown.
    scale_for : returns µm per px and its origin; a stream states no scale.
    clock : for tests; None for the system's.

    refused : number of pictures that were damaged or late so far.

    Raises ConfigError for an address of another kind, CameraError when the camera does not answer.
    """

    live = True

    def __init__(self, address: str, scale_for: ScaleFor, clock: Clock | None = None) -> None:
        self.name = shown_address(address)
        self.refused = 0
        self._scale_for = scale_for
        self._clock = clock or SystemClock()
        self._times = PresentationTimes()
        self._waiting: deque[tuple[int, Any]] = deque()
        self._index = -1
        self._last_ns = 0
        self._needs_key = True
        self._closed = False
        self._failure: CameraError | None = None
        self._av = _av()
        self._container = self._open(address)
        try:
            stream = self._container.streams.video[0]
        except IndexError:
            self._container.close()
            raise CameraError("camera sends no video", self.name, _MEND) from None
        self._time_base = Fraction(stream.time_base)
        self._decoder = stream.codec_context
        # Threads that each decode whole pictures would delay as many pictures.
        self._decoder.thread_count = 1
        self._packets = self._container.demux(stream)

    def _open(self, address: str) -> Any:
        try:
            return self._av.open(
                address, format="rtsp", options=dict(_OPTIONS), timeout=(2 * SOCKET_S, SOCKET_S)
            )
        except (self._av.FFmpegError, OSError, ValueError) as error:
            # Without the error's own text and traceback, which hold the address with its password.
            raise CameraError(self._why(error), self.name, _MEND) from None

    def _why(self, error: BaseException) -> str:
        known = {
            "HTTPUnauthorizedError": "camera refuses the user or password (401)",
            "HTTPForbiddenError": "camera refuses access (403)",
            "HTTPNotFoundError": "camera has no such stream (404)",
            "ConnectionRefusedError": "camera refuses the connection",
            "ExitError": f"camera does not answer within {SOCKET_S:g} s",
            "TimeoutError": f"camera does not answer within {SOCKET_S:g} s",
        }
        reason = printable(getattr(error, "strerror", None) or "unknown reason")
        return known.get(type(error).__name__, f"camera cannot be reached ({reason})")

    def read(self, timeout_s: float) -> Frame:
        """Return the next picture that is complete and on time.

        Raises SourceStalled when none came in time, CameraError when the stream broke, EndOfSource
        after close.
        """
        if self._closed:
            raise EndOfSource
        until_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        refused = self.refused
        while True:
            while self._waiting:
                arrived_ns, picture = self._waiting.popleft()
                frame = self._frame(picture, arrived_ns)
                if frame is not None:
                    return frame
            if self._clock.monotonic_ns() >= until_ns:
                self._stall(self.refused - refused)
            self._receive()

    def _stall(self, refused: int) -> NoReturn:
        if refused:
            what = f"pictures come damaged or too late ({refused} refused)"
            raise SourceStalled(what, self.name, "check the camera's network")
        raise SourceStalled("no picture in time", self.name, _MEND)

    def _receive(self) -> None:
        """Wait for the next packet of the stream and decode it."""
        if self._failure is not None:
            raise self._failure
        started = time.monotonic()
        try:
            packet = next(self._packets, None)
        except (self._av.FFmpegError, OSError) as error:
            self._fail(self._broken(error))
        if packet is None or packet.size == 0:
            self._fail("camera ended the stream")
        arrived_ns = self._clock.monotonic_ns()
        # FFmpeg returns its half picture when the network falls silent.
        if time.monotonic() - started >= SOCKET_S:
            self._fail(_SILENT)
        try:
            pictures = self._decoder.decode(packet)
        except self._av.InvalidDataError:
            self._start_anew()
            self._refuse()
            return
        except self._av.FFmpegError as error:
            self._fail(self._broken(error))
        if not pictures and self._needs_key and self._index >= 0:
            self._refuse()  # a new decoder skips everything before a key frame
        self._waiting.extend((arrived_ns, picture) for picture in pictures)

    def _start_anew(self) -> None:
        """Create a new decoder, and refuse all pictures until the next key frame.

        The pictures after a damaged one inherit its damage. FFmpeg's H.264 decoder has been seen to
        keep damage even beyond a complete key frame, silently and after a flush.
        """
        old = self._decoder
        self._decoder = self._av.CodecContext.create(old.name, "r")
        self._decoder.thread_count = 1
        self._decoder.extradata = old.extradata
        self._needs_key = True
        while self._waiting:
            self._waiting.popleft()
            self._refuse()

    def _broken(self, error: BaseException) -> str:
        if type(error).__name__ in ("ExitError", "TimeoutError"):
            return _SILENT
        return f"stream broke ({printable(getattr(error, 'strerror', None) or 'unknown reason')})"

    def _fail(self, what: str) -> NoReturn:
        self._failure = CameraError(what, self.name, _MEND)
        raise self._failure from None

    def _refuse(self) -> None:
        self.refused += 1
        self._index += 1

    def _frame(self, picture: Any, arrived_ns: int) -> Frame | None:
        """Make the frame; None for a picture that is damaged or late."""
        if picture.is_corrupt:
            self._start_anew()
        elif picture.key_frame:
            self._needs_key = False
        if self._needs_key or picture.pts is None:
            self._refuse()
            return None
        stamp_ns = int(picture.pts * self._time_base * 10**9)
        late_ns = self._times.late_ns(stamp_ns, arrived_ns)
        if late_ns > LATE_S * 1e9:
            self._refuse()
            return None
        self._index += 1
        # A picture left the camera when the fastest one with its timestamp would have arrived.
        self._last_ns = max(arrived_ns - late_ns, self._last_ns)
        return frame_of_pixels(
            np.ascontiguousarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8),
            index=self._index,
            captured_ns=self._last_ns,
            source=f"{self.name}#{self._index}",
            scale_for=self._scale_for,
        )

    def close(self) -> None:
        """Close the stream."""
        if not self._closed:
            self._closed = True
            self._waiting.clear()
            self._container.close()


def shown_address(address: str) -> str:
    """Return an address without user, password and query, for people and records.

    Raises ConfigError when it is not an ``rtsp://`` or ``rtsps://`` address.
    """
    mend = "give rtsp://HOST/PATH or rtsps://HOST/PATH"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("camera address is wrong", "(not shown)", mend) from None
    plain = address.isprintable() and not any(char.isspace() for char in address)
    if parts.scheme not in ("rtsp", "rtsps") or not host or not plain:
        raise ConfigError("camera address is wrong", "(not shown)", mend)
    host = f"[{host}]" if ":" in host else host
    secret = "***@" if "@" in parts.netloc else ""
    query = "?***" if parts.query else ""
    where = f"{host}:{port}" if port else host
    return f"{parts.scheme}://{secret}{where}{parts.path}{query}"


def _av() -> Any:
    """Import PyAV. Raises CameraError when it is not installed."""
    try:
        import av  # noqa: PLC0415 - an extra that only this kind of camera needs
    except ImportError as error:
        mend = "pip install 'edgeapl[cameras]'"
        raise CameraError("PyAV is not installed", "rtsp://", mend) from error
    return av
