"""How `edgeapl demo` and `watch` end when results cannot be kept, or when they are told to."""

from __future__ import annotations

import json
import signal
import time

import pytest

from edgeapl.cli.station_run import RunResult
from edgeapl.errors import EngineError, StorageError
from edgeapl.report.folder_lock import locked_folder
from edgeapl.report.pictures import png_bytes
from tests.e2e.station import Station
from tests.small_bundle import drawn_field

COMMANDS = [("demo",), ("watch", "demo://apl?frames=2", "--slide", "S"), ("watch", "7")]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("out", ["a-file", "/proc/edgeapl"])
def test_results_that_cannot_be_kept_end_it_at_once(
    station: Station, command: tuple[str, ...], out: str
) -> None:
    (station.folder / "a-file").write_text("mine")
    done = station.run(*command, "--out", out, "--json")
    assert done.code == 5, done.err
    assert done.error_lines == [
        line for line in done.err.splitlines() if "cannot be written" in line
    ]
    assert not done.out
    assert not (station.folder / "state").exists()  # before anything else was begun
    assert (station.folder / "a-file").read_text() == "mine"


@pytest.mark.parametrize("address", ["demo://apl?frames=2&cells=6", "replay://fields?fps=4&loop=1"])
def test_a_slide_that_was_not_closed_is_an_error(station: Station, address: str) -> None:
    (station.folder / "fields").mkdir()
    (station.folder / "fields/0.png").write_bytes(png_bytes(drawn_field()))
    out = station.folder / "out"
    out.mkdir()
    (out / "slides").write_text("in the way")
    done = station.run("watch", address, "--slide", "S", "--out", out, timeout=60)
    assert done.code == 5, done.err
    assert "was not closed" in done.err
    assert "Traceback" not in done.err


def test_what_was_not_closed_weighs_more_than_any_verdict() -> None:
    errors = (EngineError("network failed"), StorageError("disk is full"))
    assert RunResult((), errors, stopped=True).exit_code(fail_on_flag=True) == 5
    assert RunResult((), (), stopped=True).exit_code(fail_on_flag=False) == 130
    assert RunResult((), (), stopped=False).exit_code(fail_on_flag=False) == 0


def test_a_result_folder_is_held_by_one_station(station: Station) -> None:
    out = station.folder / "out"
    with locked_folder(out):
        done = station.run("demo", "--out", out)
    assert done.code == 5
    assert "another program uses the result folder" in done.err
    with locked_folder(out):
        pass


@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.8])
def test_a_demonstration_told_to_end_does_so_without_a_traceback(
    station: Station, after_s: float
) -> None:
    """What it leaves with follows from what became of its slide, as for `watch`."""
    process = station.start("demo", "--json")
    assert process.stderr is not None
    while not process.stderr.readline().startswith("using"):
        assert process.poll() is None
    time.sleep(after_s)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    events = [json.loads(line) for line in out.splitlines()]
    closed = [event for event in events if event["event"] == "verdict"]
    if not closed:
        expected = 130
    else:
        cells = closed[-1]["tally"]["not_examined"] - closed[-1].get("hidden_cells", 0)
        expected = 7 if cells else 0
    assert process.returncode == expected, err
