"""Engines are used only where they were built, for what they were built, and unchanged."""

from __future__ import annotations

import json
import platform
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.load import open_bundle
from edgeapl.engines.store import machine
from edgeapl.engines.store.cache import kept_engines, remove_engines
from edgeapl.engines.store.folder import (
    EngineFolder,
    check_fits,
    open_engines,
    write_engines,
)
from edgeapl.engines.store.machine import Device, cpu, machine_id
from edgeapl.engines.store.record import (
    RECORD,
    SEAL,
    BuiltFor,
    BuiltNetwork,
    EngineRecord,
    Settings,
)
from edgeapl.errors import EngineError, StorageError, UsageError
from edgeapl.model.engine_choice import FROM_BUNDLE, choose_engines
from tests.small_bundle import cell_network, small_bundle

BUNDLE = "b" * 64
DEVICE = Device("a CPU", "avx2")


def record(data: bytes, **changes: object) -> EngineRecord:
    built_for = {
        "library": "onnxruntime",
        "version": "1.2.3",
        "device": DEVICE.name,
        "capability": DEVICE.capability,
        "machine": machine_id(),
        "capabilities": (),
        "number": 0,
    }
    own = {name: changes.pop(name) for name in list(changes) if name in built_for}
    given = {
        "schema": 1,
        "research_use_only": True,
        "bundle": BUNDLE,
        "bundle_name": "small",
        "precision": "fp32",
        "target": "onnxruntime",
        "built_for": BuiltFor.model_validate({**built_for, **own}),
        "software": "edgeapl test",
        "built_at": "2026-01-01T00:00:00+00:00",
        "networks": {
            "cells": BuiltNetwork(
                file="cells.onnx", sha256=sha256(data), size=len(data), precision="fp32"
            )
        },
        "settings": Settings(threads=1, batch_size=4),
        "proof": {},
        "timing": {},
        **changes,
    }
    return EngineRecord.model_validate(given)


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    data = cell_network()
    (tmp_path / "made.onnx").write_bytes(data)
    folder = tmp_path / "engines"
    write_engines(folder, record(data), {"cells.onnx": tmp_path / "made.onnx"})
    return folder


def flip(path: Path, place: int = -5) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


def reseal(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Write another record with a right seal, as somebody who means harm would."""
    document = json.loads((folder / RECORD).read_text())
    change(document)
    text = json.dumps(document).encode()
    (folder / RECORD).write_bytes(text)
    (folder / SEAL).write_text(f"{sha256(text)}  {RECORD}\n")


def cut(folder: Path) -> None:
    engine = folder / "cells.onnx"
    engine.write_bytes(engine.read_bytes()[:-9])


def add(folder: Path) -> None:
    (folder / "more.plan").write_bytes(b"x")


def link(folder: Path) -> None:
    engine = folder / "cells.onnx"
    engine.rename(folder.parent / "elsewhere")
    engine.symlink_to(folder.parent / "elsewhere")


def remove(folder: Path) -> None:
    (folder / "cells.onnx").unlink()


def remove_seal(folder: Path) -> None:
    (folder / SEAL).unlink()


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a bit flipped in an engine": (lambda f: flip(f / "cells.onnx"), "was changed since"),
    "an engine cut short": (cut, "has another size"),
    "an engine removed": (remove, "is missing"),
    "a file added": (add, "was not built here"),
    "a bit flipped in the record": (lambda f: flip(f / RECORD), "does not match its seal"),
    "the seal removed": (remove_seal, "no engines there"),
    "a record of another kind": (
        lambda f: reseal(f, lambda d: d.update(schema=2)),
        "not understood",
    ),
    "an engine that is a link": (link, "not a plain file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_engines_that_are_not_what_was_built_are_refused_in_one_line(
    fault: str, engines: Path
) -> None:
    breaks, word = FAULTS[fault]
    assert open_engines(engines).record.bundle_name == "small"
    breaks(engines)
    with pytest.raises(EngineError, match=word) as caught:
        open_engines(engines)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"bundle": "c" * 64}, "of another bundle"),
        ({"machine": "d" * 64}, "not built on this machine"),
        ({"version": "1.2.4"}, "another version of the runtime"),
        ({"device": "another CPU"}, "another device"),
        ({"capability": "avx2 avx512_vnni"}, "another capability"),
    ],
)
def test_engines_for_something_else_are_refused_with_what_rebuilds_them(
    changes: dict[str, object], word: str, tmp_path: Path
) -> None:
    data = cell_network()
    (tmp_path / "made.onnx").write_bytes(data)
    files = {"cells.onnx": tmp_path / "made.onnx"}
    folder = write_engines(tmp_path / "engines", record(data, **changes), files)
    with pytest.raises(EngineError, match=word) as caught:
        check_fits(folder, BUNDLE, "1.2.3", DEVICE)
    assert "edgeapl build-engine" in str(caught.value)


def test_engines_that_fit_are_let_through(engines: Path) -> None:
    check_fits(open_engines(engines), BUNDLE, "1.2.3", DEVICE)


def test_a_later_change_is_noticed_when_the_engine_is_read(engines: Path) -> None:
    opened = open_engines(engines)
    flip(engines / "cells.onnx")
    with pytest.raises(EngineError, match="changed since"):
        opened.read("cells")


def test_what_is_there_is_replaced_only_when_it_is_engines(engines: Path, tmp_path: Path) -> None:
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("mine")
    data = cell_network()
    (tmp_path / "made.onnx").write_bytes(data)
    with pytest.raises(StorageError, match="something else"):
        write_engines(other, record(data), {"cells.onnx": tmp_path / "made.onnx"})
    assert (other / "chapter.txt").read_text() == "mine"
    write_engines(engines, record(data, precision="fp16"), {"cells.onnx": tmp_path / "made.onnx"})
    assert open_engines(engines).record.precision == "fp16"
    assert not list(tmp_path.glob(".engines-*"))


def test_the_key_is_of_what_engines_are_not_of_when_or_how_fast() -> None:
    one = record(b"x")
    assert one.key == record(b"x", built_at="later", timing={"a": 1}, proof={"b": 2}).key
    changes: list[dict[str, object]] = [
        {"precision": "int8"},
        {"device": "y"},
        {"version": "2"},
        {"bundle": "e" * 64},
        {"capabilities": ("8.9",)},
        {"number": 1},
    ]
    for change in changes:
        assert record(b"x", **change).key != one.key


@pytest.mark.parametrize(
    ("target", "proof", "there"),
    [
        ("onnxruntime", {}, True),  # as records of earlier versions say it
        ("openvino", {"run_in": "openvino"}, True),
        ("tensorrt", {}, False),
        ("tensorrt-rtx", {"run_in": "onnxruntime"}, False),
        ("tensorrt-rtx", {"run_in": "tensorrt-rtx"}, True),
    ],
)
def test_what_runs_on_a_processor_was_proven_there_and_a_plan_where_its_record_says(
    target: str, proof: dict[str, str], there: bool
) -> None:
    assert record(b"x", target=target, proof=proof).proven_where_it_runs is there


def test_this_machine_has_a_stable_id_and_a_cpu() -> None:
    assert machine_id() == machine_id()
    assert len(machine_id()) == 64
    assert cpu().name


def test_the_cache_lists_damaged_engines_too_and_removes_by_key(
    engines: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(engines, cache / "good")
    shutil.copytree(engines, cache / "bad")
    flip(cache / "bad" / "cells.onnx")
    found = {path.name: what for path, what in kept_engines(cache)}
    assert isinstance(found["bad"], EngineError)
    assert not isinstance(found["good"], EngineError)
    remove_engines(cache, "bad")
    assert [path.name for path, _ in kept_engines(cache)] == ["good"]
    for key in ("bad", "", "..", "good/cells.onnx"):
        with pytest.raises(UsageError, match="no such engines"):
            remove_engines(cache, key)


def test_engines_in_the_cache_that_do_not_fit_are_passed_over_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = open_bundle(small_bundle(tmp_path / "b").folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert choose_engines(bundle, "auto").text == FROM_BUNDLE
    data = cell_network()
    (tmp_path / "made.onnx").write_bytes(data)
    made = record(data, bundle=bundle.digest)
    folder = tmp_path / "cache" / "edgeapl" / "engines" / made.key
    write_engines(folder, made, {"cells.onnx": tmp_path / "made.onnx"})
    chosen = choose_engines(bundle, "auto")
    assert chosen.engines is None
    assert "for other networks" in str(chosen.refused[0])
    with pytest.raises(EngineError, match="for other networks"):
        choose_engines(bundle, folder)
    assert choose_engines(bundle, "none").refused == ()


def test_engines_that_fail_their_check_are_not_put_in_place(engines: Path, tmp_path: Path) -> None:
    data = cell_network()
    (tmp_path / "made.onnx").write_bytes(data)

    def fail(staged: EngineFolder) -> None:
        assert staged.record.precision == "fp16"
        raise EngineError("self-test failed", "cells", "test")

    changed = record(data, precision="fp16")
    with pytest.raises(EngineError, match="self-test failed"):
        write_engines(engines, changed, {"cells.onnx": tmp_path / "made.onnx"}, fail)
    assert open_engines(engines).record.precision == "fp32"
    assert not list(tmp_path.glob(".engines-*"))


def test_a_container_without_an_id_keeps_one_as_long_as_its_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "IDS", (tmp_path / "none",))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = machine_id()
    # As at the next start: another name, another network card.
    monkeypatch.setattr(platform, "node", lambda: "other")
    monkeypatch.setattr(uuid, "getnode", lambda: 7)
    assert machine_id() == first
    # Its cache on another processor, or another cache: another machine.
    monkeypatch.setattr(machine, "cpu", lambda: Device("another", ""))
    assert machine_id() != first
    monkeypatch.undo()
    monkeypatch.setattr(machine, "IDS", (tmp_path / "none",))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert machine_id() != first


def test_a_container_that_can_keep_nothing_still_has_an_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "IDS", ())
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(machine_id()) == 64
