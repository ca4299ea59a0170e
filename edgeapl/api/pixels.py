"""The pixels of examined frames: kept for a while, or read again from their files."""

from __future__ import annotations

from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.sources.decode import read_source
from edgeapl.types import Frame, UInt8

KEPT_BYTES = 256 << 20
"""Most bytes of pixels kept; further frames are read again from files, or are lost."""


class PixelStore:
    """Keeps or reads the pixels of the frames of one slide.

    Parameters
    ----------
    kept_bytes : most bytes of pixels held; the first frames are held.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._room = kept_bytes
        self._kept: dict[int, UInt8] = {}
        self._known: dict[int, tuple[str, str]] = {}

    def add(self, frame: Frame) -> None:
        """Register a frame, and hold its pixels if there is room."""
        self._known[frame.index] = (frame.source, frame.digest)
        if frame.pixels.nbytes <= self._room:
            self._room -= frame.pixels.nbytes
            self._kept[frame.index] = frame.pixels

    def of(self, index: int) -> UInt8:
        """Return the pixels of a frame, uint8 (H, W, 3) RGB, read-only.

        Raises KeyError for an unknown frame, InputError when its file was removed or changed since,
        or it was neither kept nor a file.
        """
        source, digest = self._known[index]
        if index in self._kept:
            return self._kept[index]
        try:
            image = read_source(Path(source))
        except InputError as error:
            mend = "examine fewer frames at once, or files that stay where they are"
            raise InputError("pixels were not kept", source, mend) from error
        if image.digest != digest:
            raise InputError("file changed since it was examined", source, "examine it again")
        return image.pixels
