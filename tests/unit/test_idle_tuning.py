"""A station that idles measures its engines again, and is never late for it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeapl.station.idle_tuning import (
    AGAIN_S,
    IdleTuning,
    Tuning,
    tuning_command,
    tuning_of,
)

AFTER_S = 600.0


class Clock:
    """Time that goes on when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tuning(clock: Clock) -> Iterator[IdleTuning]:
    made = IdleTuning(AFTER_S, clock)
    yield made
    made.close()


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def prints(after: str) -> list[str]:
    return python(f'print(\'{{"before": "1 x 2", "after": "{after}"}}\')')


def begin(tuning: IdleTuning, clock: Clock, command: list[str]) -> None:
    tuning.watch(command)
    assert tuning.step(idle=True) is None
    clock.now += AFTER_S
    assert tuning.step(idle=True) == "no slide: settings of the engines are measured again"
    assert tuning.running


def end(tuning: IdleTuning) -> str:
    for _ in range(500):
        said = tuning.step(idle=True)
        if said is not None:
            return said
        time.sleep(0.02)
    raise AssertionError


@pytest.mark.parametrize(
    ("after", "said", "changed"),
    [
        ("2 x 1", "settings of the engines: 2 x 1, were 1 x 2", True),
        ("1 x 2", "settings of the engines: 1 x 2 as before", False),
    ],
)
def test_settings_that_changed_are_to_be_taken_over(
    tuning: IdleTuning, clock: Clock, after: str, said: str, changed: bool
) -> None:
    begin(tuning, clock, prints(after))
    assert end(tuning) == said
    assert tuning.changed is changed
    tuning.watch(prints(after))  # the station has opened again
    assert not tuning.changed


def test_nothing_is_measured_while_slides_come_and_once_a_day_at_most(
    tuning: IdleTuning, clock: Clock
) -> None:
    tuning.watch(prints("1 x 2"))
    for _ in range(5):
        clock.now += AFTER_S - 1
        assert tuning.step(idle=True) is None
        assert tuning.step(idle=False) is None
    begin(tuning, clock, prints("1 x 2"))
    end(tuning)
    clock.now += AGAIN_S - 1
    assert tuning.step(idle=True) is None
    clock.now += 1
    assert tuning.step(idle=True) is not None


def test_a_slide_ends_the_measurement_and_all_that_it_started(
    tuning: IdleTuning, clock: Clock, tmp_path: Path
) -> None:
    stubborn = (
        "import signal, subprocess, sys, time, pathlib; "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid)); time.sleep(60)"
    )
    begin(tuning, clock, python(stubborn))
    until = time.monotonic() + 20
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < until
        time.sleep(0.02)
    assert tuning.step(idle=False) == "a slide is open: the measurement of settings ends"
    assert not tuning.running
    assert not tuning.changed
    pid = int((tmp_path / "pid").read_text())
    assert not alive(pid)
    clock.now += AFTER_S
    assert tuning.step(idle=True) is None, "it begins to wait anew"


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet reaped does not."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        except OSError:
            return False
        if state.split()[0] == "Z":
            return False
        time.sleep(0.02)
    return os.path.exists(f"/proc/{pid}")  # noqa: PTH110


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (python("import sys; sys.exit('error: engines do not fit: build again')"), "do not fit"),
        (python("import os; os.kill(os.getpid(), 9)"), "SIGKILL"),
    ],
)
def test_a_measurement_that_fails_is_said_and_not_tried_again_at_once(
    tuning: IdleTuning, clock: Clock, command: list[str], why: str
) -> None:
    begin(tuning, clock, command)
    said = end(tuning)
    assert said.startswith("settings of the engines could not be measured: ")
    assert why in said
    assert not tuning.changed
    clock.now += AGAIN_S - 1
    assert tuning.step(idle=True) is None


def test_a_program_that_cannot_be_started_is_said(
    tuning: IdleTuning, clock: Clock, tmp_path: Path
) -> None:
    tuning.watch([str(tmp_path / "none")])
    tuning.step(idle=True)
    clock.now += AFTER_S
    assert tuning.step(idle=True) == (
        "settings of the engines could not be measured: No such file or directory"
    )


def engines(target: str = "onnxruntime", signer: str | None = None) -> Any:
    return SimpleNamespace(
        folder=Path("engines"), signer=signer, record=SimpleNamespace(target=target)
    )


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (engines(), Tuning.POSSIBLE),
        (engines(signer="a laboratory"), Tuning.SIGNED),
        (engines("tensorrt"), Tuning.GPU),
        (None, Tuning.OWN_NETWORKS),
    ],
)
def test_engines_that_cannot_be_measured_are_left_alone(built: Any, expected: Tuning) -> None:
    assert tuning_of(built) is expected


def test_the_command_is_the_one_that_a_person_would_type() -> None:
    command = tuning_command(engines(), "bundles/ours")
    assert command[-6:] == ["engines", "tune", "engines", "--bundle", "bundles/ours", "--json"]
