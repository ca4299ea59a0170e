"""What the chaos run does to a station while it works."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults import hostile_clients
from tests.faults.chaos_worlds import World, garble, wait_until_up
from tests.faults.running import Running

CLIENTS = (
    hostile_clients.half_head,
    hostile_clients.half_body,
    hostile_clients.nothing,
    hostile_clients.silent_reader,
    hostile_clients.listener,
    hostile_clients.huge_head,
    hostile_clients.websocket,
)
JUMPS_S = (-86_400, -3600, -5, 5, 3600, 86_400 * 400)


@dataclass(slots=True, eq=False)
class Attacked:
    """A station at work and what can be done to it.

    port : of its page; None without one. disk : folder of its own small disk, or None.
    clock : file that sets its clock, or None. full : whether the disk was full meanwhile.
    """

    run: Running
    world: World
    chance: random.Random
    port: int | None
    disk: Path | None
    clock: Path | None
    full: bool = False


Attack = Callable[[Attacked], bool]
"""Gives whether it could be made here."""


def kill_child(at: Attacked) -> bool:
    """A camera's driver or the networks crash."""
    children = at.run.children()
    if children:
        with suppress(ProcessLookupError):
            os.kill(at.chance.choice(children), at.chance.choice((signal.SIGKILL, signal.SIGSEGV)))
    return bool(children)


def stop_child(at: Attacked) -> bool:
    """One of them hangs, and may go on."""
    children = at.run.children()
    if not children:
        return False
    pid = at.chance.choice(children)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(at.chance.uniform(0.2, 6))
        if at.chance.random() < 0.7:
            os.kill(pid, signal.SIGCONT)
    return True


def stop_station(at: Attacked) -> bool:
    """The machine is too busy for the station itself."""
    with suppress(ProcessLookupError):
        os.kill(at.run.pid, signal.SIGSTOP)
        time.sleep(at.chance.uniform(0.2, 4))
        os.kill(at.run.pid, signal.SIGCONT)
    return True


def kill_camera(at: Attacked) -> bool:
    """The camera is switched off, and on again."""
    if at.world.camera is None:
        return False
    at.world.camera.kill()
    time.sleep(at.chance.uniform(0.1, 6))
    wait_until_up(at.world)
    return True


def stop_camera(at: Attacked) -> bool:
    """The camera falls into a black hole, and comes out."""
    if at.world.camera is None:
        return False
    at.world.camera.send(signal.SIGSTOP)
    time.sleep(at.chance.uniform(0.2, 6))
    at.world.camera.send(signal.SIGCONT)
    return True


def garbage(at: Attacked) -> bool:
    """Something else answers at the camera's address."""
    if at.world.port is None:
        return False
    noise = at.chance.randbytes(20_000)
    garble(at.world, at.chance.choice((noise, b"RTSP/1.0 200 OK\r\n" + noise)), 2.0)
    return True


def dark(at: Attacked) -> bool:
    """The lamp is off, or lights half of the field."""
    if at.world.pictures is None:
        return False
    at.world.show(at.chance.choice(("dark", "half dark")))
    time.sleep(at.chance.uniform(0.5, 3))
    at.world.show("drawn")
    return True


def full_disk(at: Attacked) -> bool:
    """Something else fills the disk, and is removed."""
    if at.disk is None:
        return False
    at.full = True
    ballast = at.disk / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(1 << 20))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    break
        time.sleep(at.chance.uniform(0.5, 4))
    finally:
        ballast.unlink(missing_ok=True)
    return True


def clock_jump(at: Attacked) -> bool:
    """Somebody sets the clock."""
    if at.clock is None:
        return False
    at.clock.write_text(str(at.chance.choice(JUMPS_S)))
    time.sleep(at.chance.uniform(0.5, 2))
    return True


def hostile_page(at: Attacked) -> bool:
    """Clients try to use the page up."""
    if at.port is None:
        return False
    kinds = at.chance.sample(CLIENTS, 2)
    counts = {kind: at.chance.randint(20, 150) for kind in kinds}
    with hostile_clients.attacking(("127.0.0.1", at.port), counts):
        time.sleep(at.chance.uniform(0.5, 2))
    return True


ATTACKS: dict[str, Attack] = {
    "a child killed": kill_child,
    "a child stopped": stop_child,
    "the station stopped": stop_station,
    "the camera switched off": kill_camera,
    "the camera in a black hole": stop_camera,
    "garbage in place of the camera": garbage,
    "dark and half-dark frames": dark,
    "the disk full": full_disk,
    "the clock set": clock_jump,
    "hostile clients of the page": hostile_page,
}
