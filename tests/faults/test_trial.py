"""A bundle whose networks never end, want all memory or crash is refused; the program goes on."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from rich.console import Console

from edgeapl.bundle import keys
from edgeapl.bundle.digest import sha256
from edgeapl.bundle.load import MANIFEST, SEAL, Bundle, open_bundle
from edgeapl.cli.choices import opened_model
from edgeapl.cli.main import run
from edgeapl.config import StationConfig
from edgeapl.engines.store.cache import cache_folder
from edgeapl.engines.store.folder import write_engines
from edgeapl.engines.store.local_target import runtime_version
from edgeapl.engines.store.machine import cpu, machine_id
from edgeapl.engines.store.record import EngineRecord
from edgeapl.errors import EngineError
from edgeapl.model.engine_choice import FROM_BUNDLE
from edgeapl.model.trial import try_out
from tests.slow_networks import ENDLESS
from tests.small_bundle import (
    cell_network,
    drawn_field,
    head_network,
    png,
    pooled_network,
    settings,
    small_bundle,
)
from tests.trap_bundle import trap_network

LIMIT_S = 6.0


def hungry_network() -> bytes:
    """A tensor of 400 GB on the way, of which one number is used."""
    nodes = [
        helper.make_node("Expand", ["one_number", "many"], ["huge"]),
        helper.make_node("ReduceMax", ["huge"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "nothing"], ["zero"]),
        helper.make_node("ReduceMean", ["scaled", "axes"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "zero"], ["features"]),
    ]
    values = {
        "one_number": np.ones(1, np.float32),
        "many": np.array([100_000_000_000]),
        "nothing": np.float32(0),
        "axes": np.array([1, 2]),
        "weights": np.asarray(20 * np.eye(3), dtype=np.float32),
        "bias": np.full(3, -12, dtype=np.float32),
    }
    return pooled_network(nodes, values)


def endless_network() -> bytes:
    """Loops for ever where a cell has a dark pixel, as all of the golden ones do."""
    return trap_network(ENDLESS).replace(np.float32(0.5).tobytes(), np.float32(300).tobytes())


def crashing_network() -> bytes:
    """Divides the least 32-bit number by -1, on which onnxruntime is ended by the processor."""
    nodes = [
        helper.make_node("ReduceMax", ["scaled"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "nothing"], ["zero"]),
        helper.make_node("Cast", ["zero"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Add", ["whole", "least"], ["dividend"]),
        helper.make_node("Add", ["whole", "minus_one"], ["divisor"]),
        helper.make_node("Div", ["dividend", "divisor"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["number", "nothing"], ["nought"]),
        helper.make_node("ReduceMean", ["scaled", "axes"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "nought"], ["features"]),
    ]
    values = {
        "nothing": np.float32(0),
        "least": np.array([-(2**31)], np.int32),
        "minus_one": np.array([-1], np.int32),
        "axes": np.array([1, 2]),
        "weights": np.asarray(20 * np.eye(3), dtype=np.float32),
        "bias": np.full(3, -12, dtype=np.float32),
    }
    return pooled_network(nodes, values)


RUN_IT = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
session.run(None, {"cells": numpy.zeros((1, 32, 32, 3), numpy.uint8)})
"""


@pytest.fixture(scope="module")
def crashes_here(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A processor that gives a number for that division, or a later onnxruntime, has no crash."""
    file = tmp_path_factory.mktemp("crash") / "n.onnx"
    file.write_bytes(crashing_network())
    command = [sys.executable, "-c", RUN_IT, str(file)]
    if subprocess.run(command, check=False, capture_output=True).returncode != -signal.SIGFPE:
        pytest.skip("onnxruntime does not crash on it here")


def written_engines(folder: Path, bundle: Bundle, networks: Mapping[str, bytes]) -> Path:
    """Write engines as `build-engine` does, without building or proving anything."""
    device = cpu()
    files, built = {}, {}
    for name, data in networks.items():
        files[f"{name}.onnx"] = folder.parent / f"{name}.made"
        files[f"{name}.onnx"].parent.mkdir(parents=True, exist_ok=True)
        files[f"{name}.onnx"].write_bytes(data)
        facts = {"sha256": sha256(data), "size": len(data), "precision": "fp32"}
        built[name] = {"file": f"{name}.onnx", **facts}
    there = {
        "library": "onnxruntime",
        "version": runtime_version("onnxruntime"),
        "device": device.name,
        "capability": device.capability,
        "machine": machine_id(),
    }
    document = {
        "schema": 1,
        "research_use_only": True,
        "bundle": bundle.digest,
        "bundle_name": "small",
        "precision": "fp32",
        "target": "onnxruntime",
        "built_for": there,
        "software": "edgeapl test",
        "built_at": "2026-01-01T00:00:00+00:00",
        "networks": built,
        "settings": {"threads": 1, "batch_size": 4},
        "proof": {},
        "timing": {},
    }
    return write_engines(folder, EngineRecord.model_validate(document), files).folder


def with_network(folder: Path, onnx: bytes) -> Path:
    """Put another network into a sealed bundle, as who can write the folder may do."""
    bundle = small_bundle(folder)
    file = folder / bundle.manifest.networks["cells"].file
    before = sha256(file.read_bytes())
    file.write_bytes(onnx)
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace(before, sha256(onnx)))
    (folder / SEAL).write_text(f"{sha256(manifest.read_bytes())}  {MANIFEST}\n")
    open_bundle(folder)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/edgeapl/tried"


@pytest.mark.slow
def test_a_loop_without_an_end_is_refused_in_time(tmp_path: Path, cache: Path) -> None:
    folder = with_network(tmp_path / "b", endless_network())
    with pytest.raises(EngineError, match=r"do not come to an end: .*b: nothing came") as caught:
        try_out(folder, limit_s=LIMIT_S)
    assert caught.value.exit_code == 4
    assert not cache.exists()


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (hungry_network, r"failed while running: cells: .*llocate"),
        (lambda: cell_network()[:-40], r"network was refused by onnxruntime: cells"),
    ],
)
def test_what_the_runtime_refuses_is_said_as_it_was_there_and_not_tried_again_here(
    tmp_path: Path, cache: Path, network: Callable[[], bytes], said: str
) -> None:
    with pytest.raises(EngineError, match=said):
        try_out(with_network(tmp_path / "b", network()), limit_s=LIMIT_S)
    assert not cache.exists()


@pytest.mark.usefixtures("crashes_here")
def test_a_crash_is_refused_with_its_signal(tmp_path: Path, cache: Path) -> None:
    folder = with_network(tmp_path / "b", crashing_network())
    with pytest.raises(EngineError, match=r"end the process that runs them: .*b: SIGFPE"):
        try_out(folder)
    assert not cache.exists()


COMMANDS: dict[str, tuple[str, ...]] = {
    "doctor": ("doctor", "--bundle", "{bundle}", "--journal", "{place}/j"),
    "inspect": ("inspect", "{bundle}"),
    "sign": ("sign", "{bundle}", "--key", "{place}/k.pem", "--name", "me"),
    "build-engine": ("build-engine", "{bundle}", "--out", "{place}/made"),
    "calibrate": ("calibrate", "{bundle}", "--frames", "{place}", "--out", "{place}/made"),
    "export, to check": (
        "export", "eckardt2022", "--random-weights", "1", "--check", "{bundle}"
    ),
    "score": ("score", "{place}", "--bundle", "{bundle}", "--out", "{place}/made"),
    "score with engines": (
        "score", "{place}", "--bundle", "{good}", "--engines", "{engines}", "--out", "{place}/made",
    ),
    "bench with engines": ("bench", "{good}", "--engines", "{engines}", "--frames", "1"),
}  # fmt: skip
NEEDS = {"build-engine": "onnx", "calibrate": "onnx", "export, to check": "torch"}


@pytest.mark.usefixtures("cache", "crashes_here")
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_is_ended_by_a_network_that_crashes(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Their own process would be gone by SIGFPE, and this one with it."""
    if command in NEEDS:
        pytest.importorskip(NEEDS[command])
    keys.write_pair(tmp_path / "k.pem", None)
    bundle = with_network(tmp_path / "b", crashing_network())
    good = small_bundle(tmp_path / "good")
    networks = {"cells": crashing_network(), "head": good.read("head.onnx")}
    engines = written_engines(tmp_path / "engines", good, networks)
    places = {"bundle": bundle, "good": good.folder, "engines": engines, "place": tmp_path}
    assert run([word.format(**places) for word in COMMANDS[command]]) == 4
    said = "".join(capfd.readouterr())
    assert "networks end the process that runs them" in said
    assert not (tmp_path / "made").exists()


@pytest.mark.usefixtures("cache", "crashes_here")
def test_the_station_goes_on_with_the_bundles_own_networks(tmp_path: Path) -> None:
    """Engines that are taken by themselves are no reason to stop; those that were named are."""
    good = small_bundle(tmp_path / "good")
    networks = {"cells": crashing_network(), "head": good.read("head.onnx")}
    written_engines(cache_folder() / f"{good.digest[:16]}-made", good, networks)
    terminal = Console(file=io.StringIO(), width=200)
    with opened_model(good.folder, StationConfig(), "auto", terminal) as opened:
        assert opened.bundle.digest == good.digest
    said = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "not used: networks end the process that runs them" in said
    assert FROM_BUNDLE in said


@pytest.mark.usefixtures("crashes_here")
def test_an_exported_network_that_crashes_ends_no_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from edgeapl.export import exporter  # noqa: PLC0415 - needs torch

    folder = tmp_path / "b"
    made = {"cells.onnx": crashing_network(), "head.onnx": head_network(), "MODEL_CARD.md": b"x"}
    monkeypatch.setattr(exporter, "_golden_png", lambda: png(drawn_field()))
    with pytest.raises(EngineError, match="end the process that runs them"):
        exporter._sealed(folder, settings(), made)
    made["cells.onnx"] = cell_network()
    assert exporter._sealed(folder, settings(), made).manifest.name == "small"


def test_what_passed_is_not_tried_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_bundle(tmp_path / "b")
    try_out(tmp_path / "b")
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    try_out(tmp_path / "b")
    with_network(tmp_path / "c", cell_network(bias=np.full(3, -11, np.float32)))
    with pytest.raises(EngineError, match=r"cannot be tried in a process: .*c: No such file"):
        try_out(tmp_path / "c")
