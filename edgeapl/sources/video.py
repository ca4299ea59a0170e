"""Frames of a video file, to its end."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from edgeapl.closable import ClosesItself
from edgeapl.errors import ConfigError, EndOfSource, InputError
from edgeapl.protocols import Clock
from edgeapl.sources.decoder_messages import captured_messages
from edgeapl.sources.frames import ScaleFor, SystemClock, frame_of_pixels
from edgeapl.sources.regular_file import check_plain_file
from edgeapl.sources.video_structure import read_structure
from edgeapl.types import Frame
from edgeapl.wording.printable import printable

EXTENSIONS = frozenset(
    {".mp4", ".m4v", ".mov", ".qt", ".avi", ".mkv", ".webm", ".ts", ".m2ts", ".mts"}
)

_MEND = "give an MP4, MOV, AVI, MKV, WebM or TS file that plays to its end"

_COUNT_SLACK = 2
"""Frames that a decoder may hold back at the end of a complete video."""

_SYNC_BYTE = 0x47
_SYNC = ((0, 188), (4, 192))
"""Where the first packet of a transport stream begins, and how long it is; the second kind has
timestamps in front."""

_QUICKTIME = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
"""First bytes of an MP4 or MOV."""


class VideoSource(ClosesItself):
    """Implements FrameSource over a video file.

    Parameters
    ----------
    path : MP4, MOV, AVI, MKV, WebM or transport stream.
    scale_for : returns µm per px and its origin; a video states no scale.
    every : use every n-th frame.
    clock : for tests; None for the system's.

    A damaged frame raises InputError and is skipped; a video that is truncated, or ends before the
    number of frames in its container, raises InputError once before its end. Frames stay as they
    are stored: a rotation tag is not applied. Raises InputError when the file cannot be played at
    all.
    """

    live = False

    def __init__(
        self, path: Path, scale_for: ScaleFor, *, every: int = 1, clock: Clock | None = None
    ) -> None:
        if every < 1:
            raise ConfigError("frame step is wrong", every, "give 1 or more")
        self.name = printable(path)
        check_plain_file(path)
        _check_container(path, self.name)
        self._path = path
        self._scale_for = scale_for
        self._every = every
        self._clock = clock or SystemClock()
        self._position = 0
        self._next = 0
        self._capture: cv2.VideoCapture | None = self._open()
        self._structure = read_structure(path)

    def _open(self) -> cv2.VideoCapture:
        # One thread: the decoder's messages then belong to the frame that is read.
        options = [cv2.CAP_PROP_N_THREADS, 1]
        with captured_messages():
            # An absolute path cannot be taken for an address such as concat: or http:.
            capture = cv2.VideoCapture(os.path.abspath(self._path), cv2.CAP_FFMPEG, options)  # noqa: PTH100
        if not capture.isOpened():
            raise InputError("video cannot be played", self.name, _MEND)
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        return capture

    def read(self, timeout_s: float) -> Frame:
        """Return the next frame. Raises InputError for a damaged one, EndOfSource at the end."""
        while True:
            if self._capture is None:
                raise EndOfSource
            wanted = self._position % self._every == 0
            with captured_messages() as words:
                there, image = self._capture.read() if wanted else (self._capture.grab(), None)
            if not there:
                self._end()
                raise EndOfSource
            self._position += 1
            if wanted:
                break
        index = self._next
        self._next += 1
        source = f"{self._path}#{self._position - 1}"
        if words.damage:
            raise InputError(f"video frame is damaged ({words.damage})", printable(source), _MEND)
        assert image is not None
        return frame_of_pixels(
            np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8),
            index=index,
            captured_ns=self._clock.monotonic_ns(),
            source=source,
            scale_for=self._scale_for,
        )

    def _end(self) -> None:
        """Release the file. Raises InputError when it should have had more frames."""
        self.close()
        frames, cut = self._structure.frames, self._structure.cut
        if cut or (frames is not None and self._position + _COUNT_SLACK < frames):
            of_all = "" if frames is None else f" of {frames}"
            found = f"{self._position}{of_all} frames"
            raise InputError(f"video ends early ({found})", self.name, _MEND)

    def close(self) -> None:
        """Release the file."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def _check_container(path: Path, name: str) -> None:
    """Refuse all but these containers: a playlist could make FFmpeg open other addresses."""
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise InputError(f"cannot be read ({reason})", name, "allow reading it") from error
    avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    matroska = head[:4] == b"\x1a\x45\xdf\xa3"
    stream = any(head[at] == head[at + step] == _SYNC_BYTE for at, step in _SYNC if len(head) > 196)
    if not (avi or matroska or stream or head[4:8] in _QUICKTIME):
        raise InputError("not a video that can be played", name, _MEND)
