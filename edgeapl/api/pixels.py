"""The pixels of examined frames: kept for a while, or read again from their files."""

from __future__ import annotations

from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.sources.decode import read_source
from edgeapl.types import Frame, UInt8

KEPT_BYTES = 256 << 20
"""Of pixels that are kept; beyond that, frames of files are read again and others are gone."""


class PixelStore:
    """Gives the pixels of the frames of one slide.

    Parameters
    ----------
    kept_bytes : of pixels that are held at most; the first frames are held.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._room = kept_bytes
        self._kept: dict[int, UInt8] = {}
        self._known: dict[int, tuple[str, str]] = {}

    def add(self, frame: Frame) -> None:
        """Note a frame, and hold its pixels if there is room."""
        self._known[frame.index] = (frame.source, frame.digest)
        if frame.pixels.nbytes <= self._room:
            self._room -= frame.pixels.nbytes
            self._kept[frame.index] = frame.pixels

    def of(self, index: int) -> UInt8:
        """Give the pixels of a frame, uint8 (H, W, 3) RGB, read-only.

        Raises KeyError for a frame that was never seen, InputError when its file has gone or
        changed since, or it was not kept and never was a file.
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
