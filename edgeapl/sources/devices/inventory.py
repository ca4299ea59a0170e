"""Lists the cameras of this machine, each with an address that stays the same.

Drivers hang and crash, so each kind is looked for by a process of its own with a time limit, which
prints what it found as JSON.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from urllib.parse import quote

from edgeapl.errors import CameraError
from edgeapl.process.child import module_command
from edgeapl.process.program import run_program
from edgeapl.sources.devices import v4l
from edgeapl.sources.devices.aravis import SCHEME
from edgeapl.sources.devices.aravis_library import find_cameras
from edgeapl.wording.printable import printable

LIMIT_S = 10.0
"""Aravis takes a second per network interface, and few machines have more than five."""


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """One camera.

    kind : ``video``, ``aravis`` or ``micromanager``.
    name : shown to people.
    address : for `edgeapl watch`.
    stays : what the address is tied to when the camera is plugged in again.
    """

    kind: str
    name: str
    address: str
    stays: str


@dataclass(frozen=True, slots=True)
class NotSearched:
    """A kind of camera that was not searched for, and why."""

    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The cameras found, and the kinds that could not be searched for."""

    cameras: tuple[FoundCamera, ...]
    not_searched: tuple[NotSearched, ...]


def find_all(limit_s: float = LIMIT_S, command: Sequence[str] | None = None) -> Listing:
    """Search for cameras of every kind; takes a few seconds and never longer than the limits.

    Parameters
    ----------
    limit_s : for each kind that needs a driver, seconds.
    command : searches for the kind that is appended as an argument; for tests.
    """
    command = command or module_command(__name__)
    cameras: list[FoundCamera] = []
    missing: list[NotSearched] = []
    for kind in _SEARCHES:
        found = _ask(kind, command, limit_s)
        if isinstance(found, NotSearched):
            missing.append(found)
        else:
            cameras.extend(found)
    demo = _micromanager_demo()
    if isinstance(demo, NotSearched):
        missing.append(demo)
    else:
        cameras.append(demo)
    missing.append(NotSearched("rtsp", "network cameras are not searched: give rtsp://HOST/PATH"))
    return Listing(tuple(cameras), tuple(missing))


def _ask(kind: str, command: Sequence[str], limit_s: float) -> list[FoundCamera] | NotSearched:
    """Search for one kind in a process that is killed at its limit."""
    try:
        done = run_program([*command, kind], limit_s, with_errors=False)
    except OSError as error:
        return NotSearched(kind, f"its process cannot be started: {error.strerror}")
    if done.code is None:
        return NotSearched(kind, f"its driver did not answer within {limit_s:g} s")
    if done.code < 0:
        return NotSearched(kind, f"its driver crashed (signal {-done.code})")
    try:
        answer = json.loads(done.output)
        if "why" in answer:
            return NotSearched(kind, printable(answer["why"]))
        return [FoundCamera(**row) for row in answer["cameras"]]
    except (ValueError, TypeError, KeyError):
        return NotSearched(kind, f"its driver failed (exit code {done.code})")


def _video() -> list[FoundCamera]:
    return [_video_camera(camera) for camera in v4l.list_cameras()]


def _video_camera(camera: v4l.VideoCamera) -> FoundCamera:
    address = camera.stable_name
    if camera.serial and address == str(camera.by_id):
        stays = f"the camera with serial number {camera.serial}"
    elif address == str(camera.by_id):
        stays = "the make: another camera of this make looks the same"
    elif address == str(camera.by_path):
        stays = f"the socket {camera.port or 'it is in'}: another camera there looks the same"
    else:
        stays = "nothing: the number follows the order of plugging in"
    return FoundCamera("video", camera.card or str(camera.path), address, stays)


def _aravis() -> list[FoundCamera]:
    return [
        FoundCamera(
            kind="aravis",
            name=f"{camera.vendor} {camera.model} ({camera.protocol}, {camera.address})",
            address=SCHEME + quote(camera.id, safe=""),
            stays=f"the camera with serial number {camera.serial}",
        )
        for camera in find_cameras()
    ]


def _micromanager_demo() -> FoundCamera | NotSearched:
    """Return Micro-Manager's DemoCamera; real cameras appear only in configuration files."""
    if importlib.util.find_spec("pymmcore_plus") is None:
        why = "pymmcore-plus is not installed: pip install 'edgeapl[cameras]'"
        return NotSearched("micromanager", why)
    if importlib.util.find_spec("mm_test_adapters") is None:
        why = "cameras are named by a configuration: give mm://CONFIG.cfg"
        return NotSearched("micromanager", why)
    name = "Micro-Manager's DemoCamera"
    return FoundCamera("micromanager", name, "mm://demo", "a program: it is always there")


_SEARCHES: dict[str, Callable[[], list[FoundCamera]]] = {"video": _video, "aravis": _aravis}


def main(kind: str | None = None) -> None:
    """Look for one kind, of the command line if not given; print it, or why it was not found."""
    kind = kind or sys.argv[1]
    answer: dict[str, object]
    try:
        answer = {"cameras": [asdict(camera) for camera in _SEARCHES[kind]()]}
    except CameraError as error:
        answer = {"why": str(error)}
    sys.stdout.write(json.dumps(answer))
