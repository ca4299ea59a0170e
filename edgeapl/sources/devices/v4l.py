"""Cameras of this machine (Video4Linux), identified whatever their number is today."""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeapl.errors import CameraError
from edgeapl.protocols import Clock
from edgeapl.sources.camera import CameraSource, Device
from edgeapl.sources.frames import ScaleFor
from edgeapl.wording.printable import printable

DEV = Path("/dev")
SYS = Path("/sys")

_QUERYCAP = 0x80685600
"""VIDIOC_QUERYCAP of linux/videodev2.h: _IOR('V', 0, struct v4l2_capability), 104 bytes."""

_CAPTURES = 0x1 | 0x1000
"""V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_VIDEO_CAPTURE_MPLANE; a camera's second node has neither."""

_DEVICE_CAPS = 0x80000000
"""V4L2_CAP_DEVICE_CAPS: the node's own capabilities are reported apart from the device's."""

_VIDEO = re.compile(r"video(\d{1,4})")


@dataclass(frozen=True, slots=True)
class VideoCamera:
    """One ``/dev/videoN``.

    number : N; depends on the order of plugging in.
    card : the driver's name for it; empty if unknown.
    by_id : its link in ``/dev/v4l/by-id``, which stays the same; None if it has none.
    by_path : its link in ``/dev/v4l/by-path``, the same as long as it stays in its socket, or None.
    usb : ``VENDOR:PRODUCT`` in hex; empty if it is not a USB camera.
    serial : the maker's serial number; empty if it has none.
    port : of the bus it is plugged into, e.g. ``1-2``; empty if unknown.
    """

    number: int
    card: str
    by_id: Path | None
    by_path: Path | None
    usb: str
    serial: str
    port: str

    @property
    def path(self) -> Path:
        """Path of its device file."""
        return DEV / f"video{self.number}"

    @property
    def stable_name(self) -> str:
        """The address that stays the same: the link by id, else by path, else the device file.

        A link by id without a serial number is shared by all cameras of one make, so the socket
        identifies it better.
        """
        if self.by_id is not None and (self.serial or self.by_path is None):
            return str(self.by_id)
        return str(self.by_path or self.by_id or self.path)

    @property
    def identity(self) -> str:
        """What must be unchanged for it to be the same camera, as far as can be told.

        Two cameras of one make without serial numbers differ only in their socket.
        """
        parts = [self.card, self.usb, self.serial or (self.port and f"in socket {self.port}")]
        return " ".join(part for part in parts if part)


class V4lSource(CameraSource):
    """Implements FrameSource over ``N``, ``/dev/videoN`` or a link to it in ``/dev/v4l``.

    Parameters
    ----------
    address, scale_for, clock : as for every source.
    open_device : opens the camera with a number or raises CameraError; for tests.
    dev, sys : the system's device folders; for tests.

    identity : see `VideoCamera`; for comparison after a reconnect.
    stable_name : the address that stays the same.

    Raises CameraError when there is no such camera or it cannot be opened.
    """

    def __init__(
        self,
        address: str,
        scale_for: ScaleFor,
        clock: Clock | None = None,
        open_device: Callable[[int], Device] | None = None,
        *,
        dev: Path = DEV,
        sys: Path = SYS,
    ) -> None:
        camera = describe(number_of(address, dev), dev, sys)
        self.identity = camera.identity
        self.stable_name = camera.stable_name
        super().__init__(camera.number, scale_for, clock, open_device)
        self.name = printable(address)


def number_of(address: str, dev: Path = DEV) -> int:
    """Return the number of ``2``, ``/dev/video2`` or a link to it.

    Raises CameraError when there is no such camera.
    """
    if address.isascii() and address.isdigit() and len(address) <= 4:
        path = dev / f"video{int(address)}"
    else:
        path = Path(address)
    match = None
    if "\0" not in address and path.exists():
        real = path.resolve()
        match = _VIDEO.fullmatch(real.name) if real.parent == dev.resolve() else None
    if match is None:
        raise CameraError("no such camera", printable(path), "see edgeapl cameras")
    return int(match[1])


def describe(number: int, dev: Path = DEV, sys: Path = SYS) -> VideoCamera:
    """Read what the system knows about a camera, without opening it.

    Parameters
    ----------
    number : of ``/dev/videoN``.
    dev, sys : the system's device folders; for tests.
    """
    node = sys / "class" / "video4linux" / f"video{number}"
    device = _usb_device(node / "device")
    usb = ":".join(filter(None, (_word(device, "idVendor"), _word(device, "idProduct"))))
    return VideoCamera(
        number=number,
        card=_read(node / "name"),
        by_id=_link(dev, "by-id", number),
        by_path=_link(dev, "by-path", number),
        usb=usb,
        serial=_word(device, "serial"),
        port=device.name if device is not None else "",
    )


def list_cameras(
    dev: Path = DEV, sys: Path = SYS, captures: Callable[[Path], bool] | None = None
) -> list[VideoCamera]:
    """Return all cameras of this machine, by number.

    Parameters
    ----------
    dev, sys : the system's device folders; for tests.
    captures : whether a device file delivers pictures; by default its driver is asked, and one
        that may not be opened counts as a camera.
    """
    matches = (_VIDEO.fullmatch(path.name) for path in dev.glob("video*"))
    numbers = sorted(int(match[1]) for match in matches if match)
    gives = captures or gives_pictures
    return [describe(number, dev, sys) for number in numbers if gives(dev / f"video{number}")]


def gives_pictures(path: Path) -> bool:
    """Ask a driver whether a device file delivers pictures; cameras may have others."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        answer = fcntl.ioctl(file, _QUERYCAP, bytes(104))
    except OSError:
        return False
    finally:
        os.close(file)
    whole, own = struct.unpack_from("<II", answer, 84)
    return bool((own if whole & _DEVICE_CAPS else whole) & _CAPTURES)


def _usb_device(link: Path) -> Path | None:
    """Find the USB device that a camera's interface belongs to; None for another bus."""
    try:
        folder = link.resolve(strict=True)
    except OSError:
        return None
    for candidate in (folder, *folder.parents):
        if (candidate / "idVendor").is_file():
            return candidate
    return None


def _word(device: Path | None, name: str) -> str:
    return "" if device is None else _read(device / name)


def _read(path: Path) -> str:
    """Return the text of a small file; empty if it cannot be read."""
    try:
        return printable(path.read_text(errors="replace").strip())
    except OSError:
        return ""


def _link(dev: Path, kind: str, number: int) -> Path | None:
    folder = dev / "v4l" / kind
    if not folder.is_dir():
        return None
    target = (dev / f"video{number}").resolve()
    links = sorted(path for path in folder.iterdir() if path.resolve() == target)
    return links[0] if links else None
