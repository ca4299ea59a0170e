"""`edgeapl watch` and `edgeapl demo`: a source to a committed verdict."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.station import Station


def test_watch_prints_state_changes_and_the_verdict_last(station: Station, bundle: Path) -> None:
    done = station.run(
        "watch", "demo://apl?seed=1&frames=4", "--slide", "S1", "--bundle", bundle,
        "--max-frames", "2", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert {line["event"] for line in lines[:-1]} == {"camera", "state"}
    assert lines[-1]["event"] == "verdict"
    assert lines[-1]["slide"] == "S1"
    assert len(lines[-1]["frames"]) == 2
    assert (station.folder / lines[-1]["report"]).is_file()
    shown = station.run("journal", "show", lines[-1]["journal_record"])
    assert shown.code == 0, shown.err
    assert "S1" in shown.out


def first_state(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "state":
            return event
    raise AssertionError("the process ended before it said anything about the slide")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_slide_with_a_committed_verdict(
    station: Station, bundle: Path, number: signal.Signals
) -> None:
    process = station.start(
        "watch", "demo://apl?seed=1&frames=10000", "--slide", "S2", "--bundle", bundle, "--json"
    )
    first_state(process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    last = json.loads(out.splitlines()[-1])
    assert last["event"] == "verdict"
    tally = last["tally"]
    assert tally["seen"] == tally["scored"] + tally["not_examined"] > 0
    if number == signal.SIGINT:  # what was captured is still examined
        assert not tally["not_examined"]
    assert process.returncode == (7 if tally["not_examined"] else 0), err
    assert station.run("journal", "verify").code == 0


def test_doctor_and_inspect_say_what_is_there(station: Station, bundle: Path) -> None:
    doctor = station.run("doctor", "--bundle", bundle, "--json")
    assert doctor.code == 0, doctor.err
    checks = {check["name"]: check for check in doctor.document["checks"]}
    assert checks["bundle"]["health"] == "ok"
    assert "onnxruntime" in checks
    assert not (station.folder / "state").exists()
    inspected = station.run("inspect", bundle, "--json")
    assert inspected.document["self_test"] == "passed"
    assert inspected.document["networks"]["cells"]["inputs"]["cells"][0] == "uint8"
    assert "Research use only" in station.run("inspect", bundle).out


def test_doctor_ends_with_the_code_of_what_is_wrong(station: Station, bundle: Path) -> None:
    assert station.run("doctor", "--bundle", "missing").code == 4
