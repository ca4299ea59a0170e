"""What the station of the chaos run looks at: cameras on real protocols, and drawn slides."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from edgeapl.sources.demo import DemoSource
from edgeapl.types import UInt8
from tests.devices.programs import FAKE_GIGE, SYSTEM_PYTHON, can_stream_rtsp

PICTURES = 6
SIZE = (960, 720)

_HERE = Path(__file__).parents[1] / "devices"


@dataclass(slots=True, eq=False)
class Camera:
    """A program that is a camera. command : starts it."""

    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.process is None:
            self.process = subprocess.Popen(
                self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )

    def send(self, number: int) -> None:
        """Send it a signal."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass(slots=True, eq=False)
class World:
    """A source. pictures : folder of what it shows, if it shows files. port : it listens on."""

    name: str
    address: str
    options: tuple[str, ...] = ()
    camera: Camera | None = None
    pictures: Path | None = None
    port: int | None = None
    ends: bool = False
    drawn: dict[str, bytes] = field(default_factory=dict)

    def show(self, how: str) -> None:
        """Show the pictures as they are drawn, ``dark``, or ``half dark``; each file at once."""
        if self.pictures is None:
            return
        for name, good in self.drawn.items():
            data = good if how == "drawn" else _darkened(good, half=how == "half dark")
            beside = self.pictures / f".{name}.new"
            beside.write_bytes(data)
            beside.replace(self.pictures / name)


def _darkened(png: bytes, *, half: bool) -> bytes:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    dark = picture // 30
    if half:
        dark[:, picture.shape[1] // 2 :] = picture[:, picture.shape[1] // 2 :]
    return _png(np.asarray(dark, np.uint8))


def _png(picture: UInt8) -> bytes:
    done, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    return data.tobytes()


def draw_pictures(folder: Path, kind: str, seed: int) -> dict[str, bytes]:
    """Draw a slide into a folder; gives name to file."""
    folder.mkdir(parents=True)
    width, height = SIZE
    address = f"demo://{kind}?seed={seed}&frames={PICTURES}&width={width}&height={height}"
    drawn = {}
    with DemoSource.from_address(address) as source:
        for number in range(PICTURES):
            pixels = source.read(1.0).pixels
            drawn[f"{number:03d}.png"] = _png(np.ascontiguousarray(pixels[..., ::-1]))
    for name, data in drawn.items():
        (folder / name).write_bytes(data)
    return drawn


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def worlds(folder: Path, seed: int) -> Iterator[tuple[list[World], list[str]]]:
    """Give the sources that this machine can have, and words about those it cannot."""
    scale = ("--um-per-px", "0.15")
    lacking: list[str] = []
    apl, aml = folder / "apl", folder / "aml"
    made = [World("demo", "demo://apl?seed=2&frames=400", ends=True)]
    for kind, pictures in (("apl", apl), ("aml", aml)):
        drawn = draw_pictures(pictures, kind, seed)
        address = f"replay://{pictures}?fps=4&loop=1"
        made.append(World(f"replay {kind}", address, scale, pictures=pictures, drawn=drawn))
    with ExitStack() as running:
        if find_spec("av") is not None and can_stream_rtsp():
            made.append(_rtsp(apl, made[1].drawn, scale))
        else:
            lacking.append("RTSP: no server, or no edgeapl[cameras]")
        if shutil.which(FAKE_GIGE):
            camera = Camera((FAKE_GIGE, "-i", "lo", "-s", "GVCHAOS"))
            address = "aravis://Aravis-GVCHAOS?pixel_format=RGB8"
            made.append(World("GigE", address, scale, camera=camera))
        else:
            lacking.append("GigE Vision: no aravis-tools")
        if find_spec("pymmcore_plus") is not None and find_spec("mm_test_adapters") is not None:
            made.append(World("Micro-Manager", "mm://demo?width=640&height=480", scale))
        else:
            lacking.append("Micro-Manager: no edgeapl[cameras] with mm-test-adapters")
        for world in made:
            if world.camera is not None:
                running.callback(world.camera.kill)
        yield made, lacking


def _rtsp(pictures: Path, drawn: dict[str, bytes], scale: tuple[str, ...]) -> World:
    port, (width, height) = free_port(), SIZE
    command = (SYSTEM_PYTHON, str(_HERE / "rtsp_server.py"), "--port", str(port))
    shown = ("--size", f"{width}x{height}", "--fps", "4", "--pictures", f"{pictures}/%03d.png")
    address = f"rtsp://127.0.0.1:{port}/camera"
    camera = Camera((*command, *shown))
    return World("RTSP", address, scale, camera, pictures, port, drawn=drawn)


def wait_until_up(world: World, most_s: float = 15.0) -> None:
    """Start the camera of a world and wait until it can be opened."""
    if world.camera is None:
        return
    world.camera.start()
    end = time.monotonic() + most_s
    while world.port is not None and time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", world.port), 1):
            return
        time.sleep(0.1)
    time.sleep(0.5)


def garble(world: World, noise: bytes, seconds: float) -> None:
    """Put something that sends garbage in the place of a network camera."""
    if world.camera is None or world.port is None:
        return
    world.camera.kill()
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.settimeout(0.2)
        with suppress(OSError):
            server.bind(("127.0.0.1", world.port))
            server.listen()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                with suppress(OSError):
                    caller, _ = server.accept()
                    with caller:
                        caller.settimeout(0.5)
                        caller.sendall(noise)
    wait_until_up(world)
