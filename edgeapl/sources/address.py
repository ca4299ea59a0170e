"""From what the user wrote to a source of frames."""

from __future__ import annotations

import os
import re
from pathlib import Path

from edgeapl.errors import ConfigError, InputError
from edgeapl.protocols import Clock, FrameSource
from edgeapl.sources import video
from edgeapl.sources.frames import ScaleFor
from edgeapl.sources.names import printable

UNDERSTOOD = "give a folder, a video file, a camera's number such as 0, or demo://apl?seed=1"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def open_source(address: str, *, scale_for: ScaleFor, clock: Clock | None = None) -> FrameSource:
    """Open the source that an address names.

    Parameters
    ----------
    address : a folder that fills up, a video file, ``demo://KIND?...``, or a camera's number.
    scale_for : gives µm per px and its origin; `demo://` knows its own.
    clock : time; tests give their own.

    Raises ConfigError for anything else, ``http://`` and ``concat:`` among it, InputError for a
    path that does not exist or does not play, CameraError when there is no such camera.
    """
    if address.startswith("demo://"):
        # On demand: drawing smears is not needed at a station with a camera.
        from edgeapl.sources.demo import DemoSource  # noqa: PLC0415

        return DemoSource.from_address(address)
    if address.isascii() and address.isdigit() and len(address) <= 4:
        from edgeapl.sources.camera import CameraSource  # noqa: PLC0415

        return CameraSource(int(address), scale_for, clock)
    path = Path(address)
    if not address or "\0" in address or (_SCHEME.match(address) and not os.path.lexists(path)):
        raise ConfigError("source is not understood", printable(address), UNDERSTOOD)
    if not os.path.lexists(path):
        raise InputError("does not exist", printable(address), "check the path")
    if path.is_dir():
        from edgeapl.sources.folder import FolderSource  # noqa: PLC0415

        return FolderSource(path, scale_for, clock)
    if path.suffix.lower() in video.EXTENSIONS:
        return video.VideoSource(path, scale_for, clock=clock)
    raise ConfigError("source is not understood", printable(address), UNDERSTOOD)
