"""A bundle whose networks never end, want all memory or crash is refused; the program goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.load import MANIFEST, SEAL, open_bundle
from edgeapl.errors import EngineError
from edgeapl.model import trial
from edgeapl.model.trial import try_out
from tests.slow_networks import ENDLESS
from tests.small_bundle import cell_network, pooled_network, small_bundle
from tests.trap_bundle import trap_network

LIMIT_S = 10.0


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


def test_a_loop_without_an_end_is_refused_in_time(tmp_path: Path, cache: Path) -> None:
    folder = with_network(tmp_path / "b", endless_network())
    with pytest.raises(EngineError, match=r"do not come to an end: .*b: nothing came") as caught:
        try_out(folder, limit_s=LIMIT_S)
    assert caught.value.exit_code == 4
    assert not cache.exists()


@pytest.mark.parametrize("network", [hungry_network, lambda: cell_network()[:-40]])
def test_what_the_runtime_refuses_is_left_to_who_opens_it(
    tmp_path: Path, cache: Path, network: Callable[[], bytes]
) -> None:
    try_out(with_network(tmp_path / "b", network()), limit_s=LIMIT_S)
    assert not cache.exists()


def test_a_crash_is_refused_with_its_signal(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashes = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr(trial, "_START", crashes)
    small_bundle(tmp_path / "b")
    with pytest.raises(EngineError, match=r"end the process that runs them.*SIGSEGV"):
        try_out(tmp_path / "b")
    assert not cache.exists()


def test_what_passed_is_not_tried_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_bundle(tmp_path / "b")
    try_out(tmp_path / "b")
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    try_out(tmp_path / "b")
    with_network(tmp_path / "c", cell_network(bias=np.full(3, -11, np.float32)))
    with pytest.raises(FileNotFoundError):
        try_out(tmp_path / "c")
