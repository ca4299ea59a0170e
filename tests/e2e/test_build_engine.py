"""`edgeapl build-engine` as a user types it: built, proven, found again, refused when damaged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.station import Station


def cache_of(station: Station) -> dict[str, str]:
    return {**station.environment, "XDG_CACHE_HOME": str(station.folder / "cache")}


def run(station: Station, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgeapl", *map(str, arguments)],
        cwd=station.folder,
        env=cache_of(station),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.slow
def test_engines_are_built_proven_used_listed_and_removed(station: Station) -> None:
    built = run(station, "build-engine", "--precision", "fp32", "--target", "onnxruntime")
    assert built.returncode == 0, built.stderr
    assert "fp32 onnxruntime: passed" in built.stdout
    assert "drawn slides" in built.stdout
    key = Path(built.stdout.split("engines ")[-1].splitlines()[0].strip()).name
    assert key in run(station, "engines", "list").stdout
    watch = ("watch", "demo://apl?seed=1&frames=1", "--out", "out")
    used = run(station, *watch)
    assert f"using fp32 engines {key}" in used.stderr
    assert run(station, "engines", "verify").returncode == 0
    folder = station.folder / "cache" / "edgeapl" / "engines" / key
    assert "fp32" in run(station, "inspect", folder).stdout

    engine = station.folder / "cache" / "edgeapl" / "engines" / key / "cells.onnx"
    data = bytearray(engine.read_bytes())
    data[len(data) // 2] ^= 1
    engine.write_bytes(bytes(data))
    damaged = run(station, "engines", "verify")
    assert damaged.returncode == 4
    assert "was changed since it was built" in damaged.stderr
    fallen_back = run(station, *watch)
    assert fallen_back.returncode == 0
    assert "not used: engine was changed" in fallen_back.stderr
    assert "using FP32 networks of the bundle" in fallen_back.stderr
    named = run(station, *watch, "--engines", engine.parent)
    assert named.returncode == 4
    assert run(station, "engines", "remove", key).returncode == 0
    assert not engine.exists()


@pytest.mark.slow
def test_int8_needs_measured_ranges(station: Station) -> None:
    done = run(station, "build-engine", "--precision", "int8", "--target", "onnxruntime")
    assert done.returncode == 4
    assert "run edgeapl calibrate first" in done.stderr
    assert len(done.stderr.strip().splitlines()[-1:]) == 1


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.slow
def test_a_build_that_is_stopped_leaves_nothing_behind(station: Station) -> None:
    building = subprocess.Popen(
        [sys.executable, "-m", "edgeapl", "build-engine", "--target", "onnxruntime", "--out", "e"],
        cwd=station.folder,
        env=cache_of(station),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert building.stderr is not None
    assert building.stderr.readline()
    time.sleep(1.0)
    building.send_signal(signal.SIGINT)
    building.communicate(timeout=60)
    assert building.returncode in (0, 130)
    if building.returncode == 130:
        assert not (station.folder / "e").exists()
    assert not list(station.folder.glob(".e-*"))
    assert not list(station.folder.glob(".build-*"))
