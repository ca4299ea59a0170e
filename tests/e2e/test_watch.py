"""`edgeapl watch` and `edgeapl demo`: a source to a committed verdict."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgeapl.model import EMBEDDED
from edgeapl.report.pictures import png_bytes
from edgeapl.sources.demo import DemoSource
from tests.e2e.station import Station
from tests.explaining_bundles import pooled_bundle
from tests.slow_networks import ENDLESS
from tests.small_bundle import drawn_field
from tests.trap_bundle import trap_bundle, trap_field


def test_watch_prints_state_changes_and_the_verdict_last(station: Station, bundle: Path) -> None:
    done = station.run(
        "watch", "demo://apl?seed=1&frames=4", "--slide", "S1", "--bundle", bundle,
        "--max-frames", "2", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert {line["event"] for line in lines[:-1]} == {"camera", "state"}
    states = [line for line in lines if line["event"] == "state"]
    assert (states[0]["verdict"], states[0]["state"]) == (None, "waiting for the first frame")
    assert all(state["verdict"] for state in states[1:])
    flagged = [state["flags_not_acknowledged"] != [] for state in states]
    assert flagged == [state["verdict"] == "FLAG" for state in states]
    assert lines[-1]["event"] == "verdict"
    assert lines[-1]["slide"] == "S1"
    assert len(lines[-1]["frames"]) == 2
    assert (station.folder / lines[-1]["report"]).is_file()
    shown = station.run("journal", "show", lines[-1]["journal_record"])
    assert shown.code == 0, shown.err
    assert "S1" in shown.out


@pytest.mark.slow
@pytest.mark.parametrize("how", ["by default", "--exhaustive", "exhaustive = true"])
def test_cells_are_left_out_once_the_flag_is_decided_unless_all_are_asked_for(
    station: Station, how: str
) -> None:
    if "=" in how:
        (station.folder / "edgeapl.toml").write_text(how)
    options = [how] if how.startswith("--") else []
    done = station.run(
        "watch", "demo://apl?seed=1&frames=2&cells=80", "--slide", "S8", "--json", *options
    )
    assert done.code == 0, done.err  # 7 is for cells whose time was up
    last = json.loads(done.out.splitlines()[-1])
    tally = last["tally"]
    assert last["verdict"] == "FLAG"
    assert tally["scored"] + tally["not_needed"] == tally["seen"]
    assert (tally["not_needed"] > 0) is (how == "by default")
    report = (station.folder / last["report"]).read_text(encoding="utf-8")
    assert ("not needed" in report) is (how == "by default")


def test_a_bundle_that_pools_features_says_that_all_cells_are_examined(
    station: Station, tmp_path: Path
) -> None:
    pooled = pooled_bundle(tmp_path / "pooled").folder
    field = tmp_path / "field"
    field.mkdir()
    (field / "0.png").write_bytes(png_bytes(drawn_field()))
    watch = (
        "watch", field, "--um-per-px", "0.2", "--idle", "1", "--slide", "S9", "--bundle", pooled
    )  # fmt: skip
    assert "all are examined" in station.run(*watch).err
    assert "all are examined" not in station.run(*watch, "--exhaustive").err


def first_state(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        # Before the first frame was looked at there is no verdict yet.
        if event["event"] == "state" and event["verdict"] is not None:
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
    parts = ("scored", "not_examined", "not_needed")
    assert tally["seen"] == sum(tally[part] for part in parts) > 0
    if number == signal.SIGINT:  # what was captured is still examined
        assert not tally["not_examined"]
    assert process.returncode == (7 if tally["not_examined"] else 0), err
    assert station.run("journal", "verify").code == 0


DRAWN = ("--bundle", str(EMBEDDED))
"""For drawn images that come from elsewhere than ``demo://``."""


def fields(folder: Path) -> str:
    """A camera that shows six drawn fields of an APL smear, two each second, over and over."""
    folder.mkdir()
    with DemoSource.from_address("demo://apl?seed=1&frames=6&cells=12") as source:
        for number in range(6):
            (folder / f"{number}.png").write_bytes(png_bytes(source.read(1).pixels))
    return f"replay://{folder}?fps=2&loop=1"


@pytest.mark.slow
def test_every_image_of_a_folder_is_examined_however_late(
    station: Station, bundle: Path, tmp_path: Path
) -> None:
    """Files are never dropped for newer ones, as a camera's pictures are."""
    folder = tmp_path / "saved"
    folder.mkdir()
    for number, cells in enumerate(([(60, 60)], [(140, 60)], [(60, 140)], [(140, 140)])):
        (folder / f"{number}.png").write_bytes(png_bytes(drawn_field(cells)))
    done = station.run(
        "watch", folder, "--slide", "S7", "--bundle", bundle, "--um-per-px", "0.2",
        "--idle", "2", "--json",
    )  # fmt: skip
    last = json.loads(done.out.splitlines()[-1])
    assert [Path(frame["source"]).name for frame in last["frames"]] == [
        "0.png", "1.png", "2.png", "3.png",
    ]  # fmt: skip


def killed_with_a_flag(station: Station, *watch: str) -> tuple[Path, int]:
    """Kill a station some frames after its flag; give where they are kept, and how many."""
    killed = station.start(*watch, "--slide", "S3")
    assert killed.stdout is not None
    used: list[int] = []
    for line in killed.stdout:
        event = json.loads(line)
        used.append(event.get("frames_used", 0))
        if event.get("verdict") == "FLAG":
            break
    time.sleep(1.5)  # some frames more
    killed.kill()
    killed.communicate()
    (kept,) = (station.folder / "edgeapl-results/watch/open").iterdir()
    # A picture is kept once what is known of it is there too; the kill may come in between.
    frames = len(list(kept.glob("[0-9]*.json")))
    assert frames >= 2
    return kept, frames


@pytest.mark.slow
def test_a_slide_goes_on_after_the_station_was_killed_when_a_person_says_so(
    station: Station, tmp_path: Path
) -> None:
    watch = ("watch", fields(tmp_path / "fields"), "--um-per-px", "0.15", "--json", *DRAWN)
    kept, frames = killed_with_a_flag(station, *watch)
    done = station.run(*watch, "--max-frames", str(frames + 1), "--resume", "S3")
    assert done.code == 0, done.err
    last = json.loads(done.out.splitlines()[-1])
    assert (last["event"], last["slide"], last["verdict"]) == ("verdict", "S3", "FLAG")
    assert len(last["frames"]) in (frames, frames + 1)  # the new one may show a field seen before
    assert not kept.exists()
    assert station.run("journal", "verify").code == 0
    again = station.run(*watch, "--resume", "S3")
    assert again.code == 2
    assert "was not left open" in again.err


@pytest.mark.slow
def test_a_slide_left_open_takes_no_frame_of_the_next_patient_when_nobody_is_there(
    station: Station, tmp_path: Path
) -> None:
    watch = ("watch", fields(tmp_path / "fields"), "--um-per-px", "0.15", "--json", *DRAWN)
    kept, frames = killed_with_a_flag(station, *watch)
    (tmp_path / "next").mkdir()
    (tmp_path / "next/0.png").write_bytes(png_bytes(drawn_field()))
    command = [sys.executable, "-m", "edgeapl", "watch", f"replay://{tmp_path / 'next'}?fps=2"]
    closed_stdin = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command, "--um-per-px", "0.15", "--json", *DRAWN],
        cwd=station.folder, env=station.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert closed_stdin.returncode == 0, closed_stdin.stderr
    events = [json.loads(line) for line in closed_stdin.stdout.splitlines()]
    first, second = (event for event in events if event["event"] == "verdict")
    assert (first["slide"], first["verdict"], len(first["frames"])) == ("S3", "FLAG", frames)
    assert all("/fields/" in frame["source"] for frame in first["frames"])
    assert second["slide"].startswith("slide-")
    assert all("/next/" in frame["source"] for frame in second["frames"])
    assert not kept.exists()


def test_a_station_told_to_end_does_so_within_three_seconds(
    station: Station, tmp_path: Path
) -> None:
    """With a network that runs for ever, from the middle of a batch."""
    folder = tmp_path / "trap"
    folder.mkdir()
    for number in range(3):
        picture = png_bytes(trap_field(((60, 60), (140, 140)), number))
        (folder / f"{number}.png").write_bytes(picture)
    trap_bundle(tmp_path / "bundle", ENDLESS)
    process = station.start(
        "watch", f"replay://{folder}?fps=2&loop=1", "--slide", "S4",
        "--bundle", tmp_path / "bundle", "--um-per-px", "0.2", "--json",
    )  # fmt: skip
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "camera"
    time.sleep(3)
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    took_s = time.monotonic() - start
    last = json.loads(out.splitlines()[-1])
    assert last["event"] == "verdict", err
    assert last["verdict"] == "REVIEW"
    assert last["tally"]["not_examined"] == last["tally"]["seen"] > 0
    assert took_s < 3
    assert station.run("journal", "verify").code == 0


def test_slides_are_opened_and_closed_by_what_is_typed(station: Station, tmp_path: Path) -> None:
    """As with a barcode reader at the terminal."""
    camera = fields(tmp_path / "fields")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeapl", "watch", camera, "--um-per-px", "0.15", *DRAWN],
        cwd=station.folder, env=station.environment,
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    heard: list[str] = []

    def wait_for(words: str) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            heard.append(line)
            if words in line:
                return
        raise AssertionError("".join(heard))

    try:
        wait_for("type or scan")
        os.write(ours, b"S5\n")
        wait_for("FLAG of slide S5")
        os.write(ours, b"S6\n")
        wait_for("FLAG of slide S6")
        os.write(ours, b"\n")
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)
    assert "slide S5" in out
    assert "slide S6" in out
    rows = station.run("journal", "list", "--json").document["records"]
    closed = [row["content"]["slide"] for row in rows if row["kind"] == "verdict"]
    assert closed == ["S5", "S6"]


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
