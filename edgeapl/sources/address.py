"""Opens the source of frames that an address names."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable
from pathlib import Path

from edgeapl.errors import CameraError, ConfigError, InputError
from edgeapl.protocols import Clock, FrameSource
from edgeapl.sources import video
from edgeapl.sources.discover import UNPACK, has_image_name
from edgeapl.sources.frames import ScaleFor
from edgeapl.sources.known_files import is_archive
from edgeapl.wording.printable import printable

UNDERSTOOD = (
    "give a folder, a pattern such as 'dir/*.png', a video file, demo://apl?seed=1, "
    "replay://FOLDER?fps=2, or a camera: 0, /dev/v4l/by-id/NAME, rtsp://HOST/PATH, "
    "mm://CONFIG.cfg, aravis://NAME or gst://PIPELINE"
)

DEVICE_SCHEMES = ("rtsp://", "rtsps://", "mm://", "aravis://", "gst://", "replay://")
"""Schemes of cameras, whose drivers may crash or hang; see `edgeapl.capture`."""

EXTRA = "pip install 'edgeapl[cameras]'"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_WILD = re.compile(r"[*?\[]")


def is_device(address: str) -> bool:
    """Return whether an address names a camera, or something that behaves like one."""
    return _is_number(address) or address.startswith((*DEVICE_SCHEMES, "/dev/"))


def open_device(address: str, *, scale_for: ScaleFor, clock: Clock | None = None) -> FrameSource:
    """Open a camera in this process; a station leaves that to `edgeapl.capture`.

    Raises ConfigError when the address is wrong, CameraError when the camera or its driver library
    is missing.
    """
    if address.startswith("replay://"):
        from edgeapl.sources.replay import ReplaySource  # noqa: PLC0415

        return ReplaySource.from_address(address, scale_for, clock)
    scheme = address.partition("://")[0] + "://"
    if _is_number(address) or address.startswith("/dev/"):
        scheme = "/dev/"
    if scheme not in _DEVICES:
        raise ConfigError("source is not understood", printable(address), UNDERSTOOD)
    try:
        return _DEVICES[scheme](address, scale_for, clock)
    except ModuleNotFoundError as error:
        which = f"{error.name} for {scheme}"
        raise CameraError("a package for this camera is missing", which, EXTRA) from error


def open_source(address: str, *, scale_for: ScaleFor, clock: Clock | None = None) -> FrameSource:
    """Open the source that an address names.

    Parameters
    ----------
    address : see `UNDERSTOOD`.
    scale_for : returns µm per px and its origin; `demo://` knows its own.
    clock : for tests; None for the system's.

    Raises ConfigError for anything else, including ``http://`` and ``concat:``, InputError for a
    path that does not exist or does not play, CameraError when there is no such camera.
    """
    if address.startswith("demo://"):
        # Imported on demand: a station with a camera draws no smears.
        from edgeapl.sources.demo import DemoSource  # noqa: PLC0415

        return DemoSource.from_address(address)
    if is_device(address):
        return open_device(address, scale_for=scale_for, clock=clock)
    path = Path(address)
    there = address and "\0" not in address and os.path.lexists(path)
    if not there and "\0" not in address and _WILD.search(address) and not _SCHEME.match(address):
        return _matching(address, scale_for)
    if not there and (not address or "\0" in address or _SCHEME.match(address)):
        raise ConfigError("source is not understood", printable(address), UNDERSTOOD)
    if not there:
        raise InputError("does not exist", printable(address), "check the path")
    if path.is_dir():
        from edgeapl.sources.folder import FolderSource  # noqa: PLC0415

        return FolderSource(path, scale_for, clock)
    if is_archive(path):
        raise ConfigError("an archive, not a folder", printable(address), UNPACK)
    if path.suffix.lower() in video.EXTENSIONS:
        return video.VideoSource(path, scale_for, clock=clock)
    raise ConfigError("source is not understood", printable(address), UNDERSTOOD)


def _is_number(address: str) -> bool:
    return address.isascii() and address.isdigit() and len(address) <= 4


def _matching(pattern: str, scale_for: ScaleFor) -> FrameSource:
    from edgeapl.sources.files import FilesSource  # noqa: PLC0415

    # Path.glob does not take absolute patterns.
    paths = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    files = [path for path in paths if has_image_name(path.name)]
    if not files:
        mend = "check the pattern; images are PNG, JPEG, TIFF or BMP files"
        raise InputError("no image matches", printable(pattern), mend)
    return FilesSource(files, printable(pattern), scale_for)


# One opener per kind of camera; its driver library is imported when it is used.


def _v4l(address: str, scale_for: ScaleFor, clock: Clock | None) -> FrameSource:
    from edgeapl.sources.devices.v4l import V4lSource  # noqa: PLC0415

    return V4lSource(address, scale_for, clock)


def _rtsp(address: str, scale_for: ScaleFor, clock: Clock | None) -> FrameSource:
    from edgeapl.sources.devices.rtsp import RtspSource  # noqa: PLC0415

    return RtspSource(address, scale_for, clock)


def _micromanager(address: str, scale_for: ScaleFor, clock: Clock | None) -> FrameSource:
    from edgeapl.sources.devices.micromanager import MicroManagerSource  # noqa: PLC0415

    return MicroManagerSource(address, scale_for, clock)


def _aravis(address: str, scale_for: ScaleFor, clock: Clock | None) -> FrameSource:
    from edgeapl.sources.devices.aravis import AravisSource  # noqa: PLC0415

    return AravisSource(address, scale_for, clock)


def _gstreamer(address: str, scale_for: ScaleFor, clock: Clock | None) -> FrameSource:
    from edgeapl.sources.devices.gstreamer import GstreamerSource  # noqa: PLC0415

    return GstreamerSource(address, scale_for, clock)


_DEVICES: dict[str, Callable[[str, ScaleFor, Clock | None], FrameSource]] = {
    "/dev/": _v4l,
    "rtsp://": _rtsp,
    "rtsps://": _rtsp,
    "mm://": _micromanager,
    "aravis://": _aravis,
    "gst://": _gstreamer,
}
