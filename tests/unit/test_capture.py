"""A camera that is watched over: lost within its limit, started again, and always said so."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgeapl.capture.health import CameraState, Limits
from edgeapl.capture.messages import (
    REPLIES,
    REQUESTS,
    SLOTS,
    Ended,
    Failed,
    Opened,
    Picture,
    Release,
    Reply,
    Waiting,
)
from edgeapl.capture.restart import RestartDelay
from edgeapl.capture.source import SupervisedSource
from edgeapl.errors import CameraError, ConfigError, EndOfSource, InputError, SourceStalled
from edgeapl.process.exit import Exit
from edgeapl.process.memory import ArrayPlace
from edgeapl.process.messages import Codec, Failure
from edgeapl.types import UInt8
from tests.pictures import stated_scale

LIMITS = Limits(silent_s=0.3, opening_s=0.5, reopening_s=0.4, frozen_s=0.3, oldest_s=0.2)


def picture(
    index: int, *, digest: str | None = None, size: tuple[int, int] = (4, 3), age_s: float = 0.0
) -> Picture:
    return Picture(
        slot=index % SLOTS,
        pixels=ArrayPlace("pixels", "uint8", (size[1], size[0], 3), 0),
        index=index,
        captured_ns=time.monotonic_ns() - int(age_s * 1e9),
        source=f"camera#{index}",
        digest=digest or f"{index:064x}",
        um_per_px=None,
    )


Step = Callable[[], list[Reply]]


class Script:
    """Implements Capture: gives what each step makes, then does what `after` says."""

    def __init__(self, steps: list[Step], after: str | None = None, *, stuck: bool = False) -> None:
        self.steps = steps
        self.after = after
        self.stuck = stuck
        self.released: list[int] = []
        self.killed = False

    def receive(self, timeout_s: float | None, wakeup: int | None = None) -> list[Reply] | None:
        if self.steps:
            return self.steps.pop(0)()
        assert timeout_s is not None
        time.sleep(min(timeout_s, 0.02))
        return None if self.after else []

    def pixels(self, picture: Picture) -> UInt8:
        return np.full(picture.pixels.shape, picture.slot, np.uint8)

    def release(self, picture: Picture) -> None:
        self.released.append(picture.slot)

    def end(self, grace_s: float = 0.0) -> Exit:
        self.killed = True
        return Exit(self.after or "SIGKILL", is_stuck=self.stuck)


def give(*messages: Reply) -> Step:
    return lambda: list(messages)


def later(index: int, wait_s: float = 0.05, **how: object) -> Step:
    def step() -> list[Reply]:
        time.sleep(wait_s)
        return [picture(index, **how)]  # type: ignore[arg-type]

    return step


def pause() -> list[Reply]:
    time.sleep(0.1)
    return []


OPEN = give(Opened("camera", "serial 1"))
NO_CAMERA = Failure("CameraError", "no such camera", "7", "plug it in")


@contextmanager
def watched(
    *lives: Script, patient: bool = False, serial: str | None = None, limits: Limits = LIMITS
) -> Iterator[SupervisedSource]:
    """Watch over a camera that has these lives; after the last one it is silent for good."""
    waiting = list(lives)
    source = SupervisedSource(
        "camera",
        stated_scale,
        patient=patient,
        serial=serial,
        limits=limits,
        launch=lambda address: waiting.pop(0) if waiting else Script([]),
    )
    with closing(source):
        yield source


def wait_for(source: SupervisedSource, state: CameraState, within_s: float = 5.0) -> str:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        health = source.health()
        if health.state is state:
            return health.text
        time.sleep(0.005)
    raise AssertionError(f"camera is {source.health()}, not {state}")


def test_the_newest_picture_is_given_and_older_ones_are_dropped_and_counted() -> None:
    life = Script([OPEN, lambda: [picture(0), picture(1), picture(2)]])
    with watched(life) as source:
        wait_for(source, CameraState.LIVE)
        frame = source.read(1)
        assert frame.index == 2
        assert int(frame.pixels[0, 0, 0]) == 2
        health = source.health()
        assert (health.received, health.dropped) == (3, 2)
        assert sorted(life.released) == [0, 1, 2]


def test_a_silent_camera_is_lost_its_process_ended_and_the_next_one_is_live() -> None:
    first, second = Script([OPEN, later(0)]), Script([OPEN, later(0), later(1)])
    with watched(first, second) as source:
        assert source.read(1).index == 0
        text = wait_for(source, CameraState.LOST)
        assert "no picture" in text
        wait_for(source, CameraState.LIVE)
        assert first.killed
        assert source.read(1).index > 0  # numbers go on
        assert source.health().restarts == 1


def test_a_camera_that_takes_long_to_open_gets_as_long_when_it_is_opened_again() -> None:
    """Else its process would be ended each time before its first picture, for ever."""
    limits = replace(LIMITS, opening_s=2.0)
    slow = [Script([OPEN, *[pause] * 7, later(0), later(1)]) for _ in range(2)]
    with watched(*slow, limits=limits) as source:
        source.read(2)
        wait_for(source, CameraState.LOST)
        wait_for(source, CameraState.LIVE)
        assert source.health().restarts == 1


@pytest.mark.slow
def test_a_camera_on_a_machine_that_has_become_slow_is_waited_for_in_the_end() -> None:
    limits = replace(LIMITS, opening_s=2.0, impatient=2)
    slow = [Script([OPEN, *[pause] * 9, later(0), later(1)]) for _ in range(6)]
    with watched(Script([OPEN, later(0)]), *slow, limits=limits) as source:
        source.read(2)
        wait_for(source, CameraState.LOST)
        wait_for(source, CameraState.LIVE, within_s=10.0)
        assert source.health().restarts >= 3


def test_a_process_that_only_says_it_is_well_counts_as_silent() -> None:
    life = Script([OPEN, later(0), *[give(Waiting("no picture")) for _ in range(9)]])
    with watched(life) as source:
        source.read(1)
        wait_for(source, CameraState.LOST)


def test_a_driver_that_crashes_is_named_and_started_again() -> None:
    first = Script([OPEN, later(0), pause], after="SIGSEGV")
    second = Script([OPEN, later(0), later(1), later(2)])
    with watched(first, second) as source:
        source.read(1)
        assert "SIGSEGV" in wait_for(source, CameraState.LOST)
        wait_for(source, CameraState.LIVE)


def test_pictures_of_before_a_black_hole_are_refused_by_their_age() -> None:
    late = [later(1, age_s=0.25), later(2, age_s=0.25), later(3, wait_s=0.1)]
    with watched(Script([OPEN, later(0), *late])) as source:
        assert source.read(1).index == 0
        assert source.read(2).index == 3
        assert source.health().refused >= 1


def test_a_frozen_picture_is_said_and_a_new_one_ends_it() -> None:
    still = [later(n, digest="f" * 64) for n in range(10)]
    with watched(Script([OPEN, *still, later(10), later(11)])) as source:
        assert "not changed" in wait_for(source, CameraState.FROZEN)
        assert wait_for(source, CameraState.LIVE) == ""


def test_another_picture_size_is_said() -> None:
    with watched(Script([OPEN, later(0), later(1, size=(8, 6)), later(2, size=(8, 6))])) as source:
        end = time.monotonic() + 3
        while not source.health().text and time.monotonic() < end:
            time.sleep(0.01)
        assert "was 4 x 3 px and is 8 x 6 px" in source.health().text


def test_another_camera_in_the_same_place_is_refused() -> None:
    first = Script([OPEN, later(0), pause], after="exit code 1")
    other = Script([give(Opened("camera", "serial 2")), later(0)])
    with watched(first, other) as source:
        source.read(1)
        end = time.monotonic() + 3
        while "another camera" not in source.health().text and time.monotonic() < end:
            time.sleep(0.005)
        assert "serial 2 in place of serial 1" in source.health().text
        with pytest.raises(SourceStalled):
            source.read(0.2)


def test_a_camera_that_cannot_be_opened_at_the_start_is_given_up_unless_patient() -> None:
    trouble = Failed(NO_CAMERA, True)
    with watched(Script([give(trouble)])) as source:
        with pytest.raises(CameraError, match="no such camera"):
            source.wait_until_open()
        with pytest.raises(CameraError, match="no such camera"):
            source.read(1)
    with watched(Script([give(trouble)]), Script([OPEN, later(0)]), patient=True) as source:
        assert source.read(3).index == 0


def test_a_camera_with_another_serial_than_the_station_file_says_is_refused() -> None:
    other = Script([OPEN, later(0)])
    what = "another camera than the station file says"
    with watched(other, serial="serial 9") as source, pytest.raises(CameraError, match=what):
        source.read(2)
    with watched(Script([OPEN, later(0)]), serial="serial 1") as source:
        assert source.read(2).index == 0


def test_a_process_that_tries_again_by_itself_is_left_to_it() -> None:
    away = Failed(NO_CAMERA, True, True)

    def tries() -> list[Reply]:
        time.sleep(LIMITS.reopening_s / 2)
        return [away]

    first = Script([OPEN, later(0), pause], after="SIGSEGV")
    second = Script([*[tries for _ in range(5)], OPEN, later(0)])
    with watched(first, second) as source:
        source.read(1)
        assert "SIGSEGV" in wait_for(source, CameraState.LOST)
        end = time.monotonic() + 3
        while "no such camera" not in source.health().text and time.monotonic() < end:
            time.sleep(0.005)
        assert source.health().text == str(away.failure.make())
        wait_for(source, CameraState.LIVE)
        assert source.health().restarts == 1


def test_a_camera_that_is_away_at_the_start_is_an_error_though_its_process_would_try_again() -> (
    None
):
    away = Failed(NO_CAMERA, True, True)
    with watched(Script([give(away), pause, give(away), OPEN])) as source:
        with pytest.raises(CameraError, match="no such camera"):
            source.read(1)
        assert source.health().state is CameraState.FAILED


def test_a_wrong_address_is_given_up_even_by_the_patient() -> None:
    trouble = Failed(Failure("ConfigError", "source is not understood", "x", ""), True)
    with watched(Script([give(trouble)]), patient=True) as source:
        with pytest.raises(ConfigError):
            source.read(2)
        assert source.health().state is CameraState.FAILED


def test_one_bad_picture_is_an_error_of_its_own() -> None:
    bad = Failed(Failure("InputError", "image is cut off", "b.png", ""), False)
    with watched(Script([OPEN, give(bad), later(0)])) as source:
        with pytest.raises(InputError, match="cut off"):
            source.read(1)
        assert source.read(1).index == 0


def test_the_end_is_the_end() -> None:
    with watched(Script([OPEN, give(picture(0), Ended())])) as source:
        wait_for(source, CameraState.ENDED)
        for _ in range(2):
            with pytest.raises(EndOfSource):
                source.read(1)


def test_a_process_that_writes_nonsense_is_ended() -> None:
    def nonsense() -> list[Reply]:
        return [REPLIES.decode(b"{}")]

    first = Script([OPEN, nonsense])
    with watched(first, Script([OPEN, later(0), later(1)])) as source:
        assert source.read(3).index == 0
        assert first.killed


def test_a_driver_that_holds_its_killed_process_is_named_and_another_process_is_started() -> None:
    first = Script([OPEN, later(0)], stuck=True)
    with watched(first, Script([])) as source:
        source.read(1)
        end = time.monotonic() + 3
        while "is stuck" not in source.health().text and time.monotonic() < end:
            time.sleep(0.005)
        assert "the camera's driver is stuck" in source.health().text


def test_a_system_without_processes_is_said_and_tried_again() -> None:
    tries: list[str] = []

    def launch(address: str) -> Script:
        tries.append(address)
        if len(tries) < 3:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return Script([OPEN, later(0)])

    with closing(SupervisedSource("camera", stated_scale, limits=LIMITS, launch=launch)) as source:
        wait_for(source, CameraState.LOST)
        assert source.read(3).index == 0


def test_a_supervisor_that_fails_is_an_error_for_who_reads_and_no_silence() -> None:
    def launch(address: str) -> Script:
        raise RuntimeError("a fault of this program")

    threads: list[threading.ExceptHookArgs] = []
    before, threading.excepthook = threading.excepthook, threads.append
    try:
        with (
            closing(SupervisedSource("camera", stated_scale, launch=launch)) as source,
            pytest.raises(CameraError, match="no longer supervised"),
        ):
            source.read(3)
    finally:
        threading.excepthook = before
    assert len(threads) == 1


def test_a_driver_that_crashes_again_and_again_is_slowed_down() -> None:
    delay = RestartDelay(Limits(crashes=3, crashes_within_s=60, brake_s=10))
    waits = [delay.after(float(n), gave_pictures=True, crashed=True) for n in range(5)]
    assert waits == [0, 0, 0, 10, 10]
    assert delay.after(200, gave_pictures=True, crashed=True) == 0


LOOSE = Limits(
    silent_s=0.3, opening_s=0.5, reopening_s=0.4, frozen_s=9, crashes=2, brake_s=20, pause_s=0.05
)
GONE = Failed(Failure("CameraError", "camera is lost", "camera", "check its cable"), True)


@pytest.mark.parametrize("away", [[], [give(GONE)]], ids=["it falls silent", "its driver says so"])
def test_a_camera_that_was_away_often_is_not_taken_for_a_driver_that_crashes(
    away: list[Step],
) -> None:
    lives = [Script([OPEN, later(0), *away]) for _ in range(6)]
    with watched(*lives, Script([OPEN, later(0)]), limits=LOOSE) as source:
        end = time.monotonic() + 10
        while source.health().received < 7 and time.monotonic() < end:
            time.sleep(0.01)
        assert (source.health().received, source.health().restarts) == (7, 6)


def test_the_pause_after_many_losses_leaves_time_to_be_live_within_5_s() -> None:
    delay = RestartDelay(Limits())
    waits = [delay.after(n / 2, gave_pictures=True, crashed=False) for n in range(30)]
    assert max(waits) == 1.0
    assert delay.after(15, gave_pictures=True, crashed=True) == 0  # its first crash


def test_a_camera_that_is_away_is_looked_for_at_least_twice_a_second() -> None:
    delay = RestartDelay(Limits())
    waits = [delay.after(n * 1.0, gave_pictures=False, crashed=False) for n in range(1000)]
    assert waits[0] == 0
    assert max(waits) == 0.5


@pytest.mark.parametrize(
    "message",
    [
        Opened("camera", "serial"),
        Waiting("no picture"),
        picture(3),
        Failed(Failure("InputError", "a", "b\nc", "d"), False),
        Failed(Failure("CameraError", "a", "b", "c"), True, True),
        Ended(),
        Release(2),
    ],
)
def test_a_message_comes_back_as_it_went(message: Reply | Release) -> None:
    codec: Codec[Any] = REQUESTS if isinstance(message, Release) else REPLIES
    line = codec.encode(message)
    assert line.count(b"\n") == 1
    assert codec.decode(line.rstrip(b"\n")) == message
