"""Plans are opened, proven and timed where they run, through the chain that serves."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from edgeapl.bundle.digest import sha256
from edgeapl.bundle.load import open_bundle
from edgeapl.bundle.specs import CropSpec
from edgeapl.calibration.builder import (
    build,
    candidates,
    device_proof,
    files,
    on_device,
    plans,
    sidecar,
    storage,
)
from edgeapl.calibration.builder import tactic_selection as races
from edgeapl.calibration.builder.build import BuildRequest, build_engine
from edgeapl.calibration.builder.candidates import Candidate
from edgeapl.calibration.builder.device_proof import prove_engines
from edgeapl.calibration.builder.files import write_network
from edgeapl.calibration.builder.layer_precision import layer_precisions
from edgeapl.calibration.builder.on_device import BATCHES
from edgeapl.calibration.builder.proof_slides import ProofSlides
from edgeapl.calibration.quantise.rounding import with_tf32_products
from edgeapl.calibration.validation.chain_replay import tiled
from edgeapl.cli.main import run
from edgeapl.engines import registry
from edgeapl.engines.hosted.messages import REQUESTS, Open
from edgeapl.engines.hosted.networks import GroupFiles, network_files
from edgeapl.engines.store import local_target
from edgeapl.engines.store.folder import EngineFolder, write_engines
from edgeapl.engines.trt import chain, driver, library, local_runtime
from edgeapl.errors import EngineError, ProofError, UsageError
from edgeapl.model import ModelRequest, engine_choice, open_model
from edgeapl.model.engine_choice import choose_engines
from edgeapl.pipeline import Observer, SlideOptions, examine_slide
from edgeapl.protocols import Arrays
from edgeapl.testing import FakeDriver
from tests.fake_builder import Builds, offer_builder
from tests.fake_tensorrt import VERSION, FakeExecution, FakeTensorRt
from tests.quantising import measured
from tests.small_bundle import SIZE, drawn_field, pooled_network, scripted, small_bundle

COLOURS = np.random.default_rng(6).integers(0, 256, (40, 1, 1, 3), dtype=np.uint8)
CELLS = np.broadcast_to(COLOURS, (40, SIZE, SIZE, 3)).copy()
SLIDES = ProofSlides((("drawn", CELLS),), (), "cells of one colour each")


@dataclass
class Workshop:
    """A machine with a GPU that is not there. bundle : its folder. out : for engines."""

    bundle: Path
    out: Path
    fake: FakeTensorRt
    builds: Builds

    def build(self, target: str = "tensorrt", **more: Any) -> EngineFolder:
        request = BuildRequest(self.bundle, target=target, out=self.out, **more)
        return build_engine(request, lambda _: None)


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    small_bundle(tmp_path / "bundle")
    # A plan takes eight cells, and frames of ten tiles.
    fake = FakeTensorRt(FakeDriver(), 8, {"frame": 10 * SIZE**2, "steps": 64})
    builds = offer_builder(fake)
    for module in (local_runtime, driver):
        monkeypatch.setattr(module, "load_driver", lambda: fake.driver)
    for module in (local_runtime, library):
        monkeypatch.setattr(module, "find_library", lambda target: fake.library)
    runtimes = local_target.runtime_version
    for module in (build, plans, sidecar, engine_choice, device_proof):
        monkeypatch.setattr(
            module,
            "runtime_version",
            lambda target: VERSION if target == "tensorrt" else runtimes(target),
        )
    there = {"tensorrt", "pycuda", "onnxruntime"}
    monkeypatch.setattr(registry, "_missing", lambda name, _: "" if name in there else "missing")
    monkeypatch.setattr(registry, "_no_interface", lambda: "")
    monkeypatch.setattr(registry, "_nvidia_driver", lambda: True)
    # What is proven on is not what these tests ask.
    for module in (build, device_proof):
        monkeypatch.setattr(module, "slides_for", lambda *_: SLIDES)
    return Workshop(tmp_path / "bundle", tmp_path / "engines", fake, builds)


def runs_take(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run that is timed on the GPU take so long, by its clock."""
    ticks = itertools.count()
    monkeypatch.setattr(on_device, "perf_counter", lambda: seconds * next(ticks))


def test_auto_picks_the_gpu_where_it_is_faster(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs_take(1e-9, monkeypatch)
    record = workshop.build("auto").record
    assert record.target == record.proof["run_in"] == "tensorrt"
    assert record.precision in ("fp32", "fp16")
    timed = record.timing["seconds_for_16_cells"]
    assert set(timed) == {"bundle", "fp32 onnxruntime", "fp32 tensorrt", "fp16 tensorrt"}
    assert timed["fp16 tensorrt"] == pytest.approx(1e-9)
    assert record.timing["speed_against_bundle"] > 1
    assert "takes" in record.timing["not_picked"]["fp32 onnxruntime"]
    assert record.built_for.device == "Fake GPU"


def test_auto_picks_the_processor_where_that_is_faster(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs_take(1000.0, monkeypatch)
    record = workshop.build("auto").record
    assert record.target == "onnxruntime"
    assert "takes" in record.timing["not_picked"]["fp16 tensorrt"]
    assert set(record.files) == {"cells", "head"}


def test_what_was_proven_is_what_is_put_in_place_and_nothing_is_left_on_the_gpu(
    workshop: Workshop,
) -> None:
    folder = workshop.build()
    # FP32 and FP16: two networks and what cuts cells of each, built once.
    assert len(workshop.builds.plans) == 6
    kept = {built.sha256 for built in folder.record.files.values()}
    assert kept <= {sha256(plan) for plan in workshop.builds.plans}
    assert set(folder.record.proof["candidates"]) == {"fp32 tensorrt", "fp16 tensorrt"}
    assert folder.record.plans["cells"].layers == (
        ("only", "CaskConvolution", "int8 -> half", 2 + 4 * 2),
    )
    assert folder.record.settings.batch_size in [size for size in BATCHES if size <= 8]
    assert not any(workshop.fake.driver.live.values())
    assert sorted(path.name for path in workshop.bundle.parent.iterdir()) == [
        "bundle",
        "cache",
        "engines",
    ]


def inverted(answers: Any) -> Any:
    """Turn every probability round, and leave features alone."""
    return {
        name: 1 - value if value.dtype == np.float32 and value.ndim < 2 else value
        for name, value in answers.items()
    }


class WrongOfPlainCells(FakeExecution):
    """Answers wrongly about cells of one colour, of which the self-test has none."""

    def _run(self, inputs: Arrays) -> Any:
        answers = super()._run(inputs)
        cells = inputs.get("cells")
        plain = cells is not None and not np.ptp(cells, axis=(1, 2)).any()
        return inverted(answers) if plain else answers


def test_a_gpu_that_answers_otherwise_than_the_processor_is_found_by_the_proof(
    workshop: Workshop,
) -> None:
    workshop.fake.execution = WrongOfPlainCells
    with pytest.raises(ProofError, match="cells flip"):
        workshop.build(precision="fp16")
    assert not workshop.out.exists()
    assert not any(workshop.fake.driver.live.values())


def test_so_is_one_that_goes_wrong_in_the_chain_alone(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, proves = chain.TrtChain.finish, on_device.prove_on_device
    self_tested: list[bool] = []

    def wrong(self: chain.TrtChain) -> Any:
        answers = finish(self)
        return {n: inverted(o) for n, o in answers.items()} if self_tested else answers

    def prove(*arguments: Any) -> Any:
        self_tested.append(True)
        return proves(*arguments)

    monkeypatch.setattr(chain.TrtChain, "finish", wrong)
    monkeypatch.setattr(candidates, "prove_on_device", prove)
    with pytest.raises(ProofError, match="cells flip"):
        workshop.build(precision="fp32")


def test_a_plan_that_fails_its_self_test_is_not_put_in_place(workshop: Workshop) -> None:
    workshop.fake.silent = True
    with pytest.raises(EngineError):
        workshop.build(precision="fp32")
    assert not workshop.out.exists()


def test_a_driver_without_a_gpu_is_none(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_found() -> Any:
        raise EngineError("GPU cannot be used", "none found", "choose --target onnxruntime")

    monkeypatch.setattr(driver, "load_driver", none_found)
    record = workshop.build("auto").record
    assert record.target == "onnxruntime"
    assert set(record.proof["candidates"]) == {"fp32 onnxruntime"}
    # Built ahead of time, as by TensorRT-RTX, for whoever has the GPU.
    ahead = workshop.build("tensorrt", precision="fp16").record
    assert (ahead.built_for.device, ahead.proof["run_in"]) == ("", "onnxruntime")


def test_a_gpu_that_fails_leaves_the_processor(workshop: Workshop) -> None:
    workshop.fake.refuses = "execute_async_v3"
    record = workshop.build("auto").record
    assert record.target == "onnxruntime"
    assert "cannot be run" in record.timing["not_picked"]["fp16 tensorrt"]


def test_what_is_opened_from_its_place_must_pass_once_more(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken between the race and the place: a disk, or a GPU that another program took.
    store = storage.store

    def broken(*arguments: Any) -> EngineFolder:
        workshop.fake.refuses = "execute_async_v3"
        return store(*arguments)

    monkeypatch.setattr(build, "store", broken)
    with pytest.raises(EngineError):
        workshop.build(precision="fp32")
    assert not workshop.out.exists()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, {"workspace": 2 << 30, "level": 3, "flags": set(), "largest": 32}),
        ({"max_batch": 8, "workspace_mib": 64}, {"workspace": 64 << 20, "largest": 8}),
        ({"optimization_level": 5}, {"level": 5}),
        ({"precision": "tf32"}, {"flags": {"tf32"}}),
    ],
)
def test_settings_reach_the_builder(
    workshop: Workshop, more: dict[str, Any], expected: dict[str, Any]
) -> None:
    folder = workshop.build(**{"precision": "fp32", **more})
    first, cutter = workshop.builds.configs[0], workshop.builds.configs[-1]
    found = {
        "workspace": first.workspace,
        "level": first.builder_optimization_level,
        "flags": first.flags,
        "largest": first.profiles[0]["cells"][-1][0],
    }
    assert {key: found[key] for key in expected} == expected
    assert cutter.profiles[0]["places"][-1][0] == found["largest"]
    assert cutter.flags == set()  # cells are cut alike whatever the networks compute in
    assert folder.record.networks["cells"].precision == more.get("precision", "fp32")
    # On the thread that builds the GPU is the one that was chosen.
    assert len(first.contexts) == 1


def test_what_a_build_measured_of_kernels_is_kept_for_the_next(workshop: Workshop) -> None:
    workshop.build(precision="fp32")
    assert workshop.builds.configs[0].given == b""
    workshop.build(precision="fp16")
    assert workshop.builds.configs[-2].given == b"measured"
    workshop.build(precision="fp32", timing_cache=False)
    assert workshop.builds.configs[-2].given is None


def test_tf32_is_proven_without_a_gpu_as_a_gpu_multiplies(
    workshop: Workshop, tmp_path: Path
) -> None:
    bundle = open_bundle(workshop.bundle)
    network = write_network(bundle, "cells", "tensorrt-rtx", "tf32", frozenset(), tmp_path)
    assert network.provable() == with_tf32_products(network.read()) != network.read()


def test_a_timing_cache_that_is_not_taken_is_made_anew(workshop: Workshop) -> None:
    workshop.build(precision="fp32")
    (kept,) = (workshop.bundle.parent / "cache" / "edgeapl" / "timing").iterdir()
    kept.write_bytes(b"of another library")
    workshop.build(precision="fp32")
    assert workshop.builds.configs[-2].given == b""
    assert kept.read_bytes() == b"measured"


def test_too_little_memory_is_said_with_what_helps(workshop: Workshop) -> None:
    workshop.builds.out_of_memory = True
    with pytest.raises(EngineError, match=r"64 MiB .* batch of 32 .*--max-batch.*--workspace"):
        workshop.build(precision="fp32", workspace_mib=64)


@pytest.mark.parametrize("gpu", [True, False])
def test_an_eight_bit_layer_without_a_kernel_is_built_in_halves_and_all_others_stay(
    workshop: Workshop,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gpu: bool,
) -> None:
    network = depthwise_network()
    small_bundle(workshop.bundle, cells=network)
    ranges = measured(network, {"cells": CELLS})
    monkeypatch.setattr(files, "ranges_of", lambda _: {"cells": ranges})
    if not gpu:
        monkeypatch.setattr(local_target, "runs_here", lambda *_: False)
        for module in (build, candidates, plans):
            monkeypatch.setattr(module, "runs_here", lambda *_: False)
    workshop.builds.without_kernel = without_eight_bits("second")
    provable = files.NetworkFile.provable
    proven: list[dict[str, str]] = []

    def seen(network: files.NetworkFile) -> bytes:
        proven.append(layer_precisions(network.read()))
        return provable(network)

    monkeypatch.setattr(files.NetworkFile, "provable", seen)
    folder = workshop.build(precision="int8", max_flip_rate=1.0)
    why = "no int8 kernel: w2 + w2_QuantizeLinear + second + PWN(relu)"
    notes = folder.record.plans["cells"]
    assert notes.fallbacks == (("second", "fp16", why),)
    assert "second" in folder.record.networks["cells"].kept
    built = {"first": "int8", "second": "fp16", "third": "int8"}
    assert {layer: proven_as(folder, layer) for layer in built} == built
    if not gpu:
        # What was proven is what was built, not what the library had no kernel for.
        assert [one["second"] for one in proven if "second" in one] == ["int8", "fp16"]
    assert run(["engines", "inspect", str(folder.folder), "--layers"]) == 0
    assert f"second in fp16: {why}" in capsys.readouterr().out


def depthwise_network() -> bytes:
    """Give a dense and two depthwise convolutions of one form."""
    nodes = [helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2])]
    before = "planes"
    for number, name in enumerate(("first", "second", "third"), 1):
        groups = 1 if number == 1 else 3
        node = helper.make_node("Conv", [before, f"w{number}"], [name], name=name, group=groups)
        nodes.append(node)
        before = name
    nodes.append(helper.make_node("ReduceMean", [before, "axes"], ["features"], keepdims=0))
    eye = np.eye(3, dtype=np.float32)
    values = {"w1": eye.reshape(3, 3, 1, 1), "axes": np.array([2, 3])}
    values |= {f"w{n}": np.ones((3, 1, 1, 1), np.float32) for n in (2, 3)}
    weights = {"weights": 20 * eye, "bias": np.full(3, -10, np.float32)}
    return pooled_network(nodes, {**values, **weights})


def without_eight_bits(layer: str) -> Callable[[bytes], str]:
    """Give what names a layer as one without a kernel as long as it is in eight bits."""

    def fused(model: bytes) -> str:
        eight = layer_precisions(model).get(layer) == "int8"
        return f"w2 + w2_QuantizeLinear + {layer} + PWN(relu)" if eight else ""

    return fused


def proven_as(folder: EngineFolder, layer: str) -> str:
    """Give the precision of a layer in a plan, which here is an ONNX file."""
    return layer_precisions((folder.folder / "cells.plan").read_bytes())[layer]


@pytest.mark.parametrize(
    ("target", "more", "message"),
    [
        ("onnxruntime", {"precision": "tf32"}, "TF32 is a precision of TensorRT: onnxruntime"),
        ("onnxruntime", {"max_batch": 4}, "setting is for TensorRT only: --max-batch"),
        ("onnxruntime", {"device": 1}, "setting is for GPUs only: --device"),
        ("tensorrt", {"device": 3}, "no such GPU: --device 3"),
    ],
)
def test_settings_that_a_target_can_not_follow_are_refused_before_anything_is_done(
    workshop: Workshop,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    more: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setattr(build, "slides_for", None)
    with pytest.raises(UsageError, match=message):
        workshop.build(target, **more)


def test_of_several_gpus_the_chosen_one_builds_proves_and_serves(workshop: Workshop) -> None:
    gpu = workshop.fake.driver
    gpu.gpus = 3
    folder = workshop.build(precision="fp32", device=2)
    assert folder.record.built_for.number == 2
    # On the thread that builds it is the current one.
    assert all(len(config.contexts) == 1 for config in workshop.builds.configs)
    assert gpu.used == {2}
    with open_model(ModelRequest(workshop.bundle, engines=folder)) as model:
        assert model.chain is not None
    bundle = open_bundle(workshop.bundle)
    for file in network_files(bundle, engines=folder):
        told = Open((GroupFiles("cells", (file,)),))
        assert REQUESTS.decode(REQUESTS.encode(told)) == told
        assert file.origin is not None
        assert (file.device, file.origin.device) == (2, 2)
    assert gpu.used == {2}
    gpu.gpus = 1
    with pytest.raises(EngineError, match="another device"):
        choose_engines(bundle, folder.folder)


def unproven(folder: EngineFolder, **changes: Any) -> EngineFolder:
    """Give engines as those whose graph was proven on a processor, as all plans once were."""
    record = folder.record
    place = record.built_for.model_copy(update=changes)
    old = record.model_copy(
        update={"proof": {**record.proof, "run_in": "onnxruntime"}, "built_for": place}
    )
    copies = {}
    for built in record.files.values():
        copies[built.file] = folder.folder.parent / f"copy-{built.file}"
        copies[built.file].write_bytes((folder.folder / built.file).read_bytes())
    return write_engines(folder.folder, old, copies)


@pytest.mark.parametrize("changes", [{}, {"device": "", "capability": ""}])
def test_engines_that_were_proven_on_the_cpu_only_clear_no_slide_until_they_are_proven_here(
    workshop: Workshop, changes: dict[str, str]
) -> None:
    built = workshop.build(precision="fp32", max_flip_rate=0.5)
    engines = unproven(built, **changes)

    def reasons(engines: EngineFolder) -> set[str]:
        with open_model(ModelRequest(workshop.bundle, engines=engines)) as model:
            source = scripted([drawn_field()])
            verdict = examine_slide(model, "s", source, SlideOptions(), Observer()).verdict
        return {reason.code for reason in verdict.reasons}

    assert "engines_unproven" in reasons(engines)
    proven = prove_engines(engines, BuildRequest(workshop.bundle), lambda _: None)
    assert proven.record.proof["run_in"] == "tensorrt"
    assert "on this GPU" in proven.record.proof["words"]
    assert proven.record.proof["limits"]["max_flip_rate"] == 0.5  # as they were built
    assert proven.record.built_for.device == "Fake GPU"
    assert proven.record.networks == engines.record.networks
    assert "engines_unproven" not in reasons(proven)
    assert not any(workshop.fake.driver.live.values())


def test_engines_that_fail_where_they_run_stay_what_they_were(workshop: Workshop) -> None:
    engines = unproven(workshop.build(precision="fp16"))
    workshop.fake.execution = WrongOfPlainCells
    with pytest.raises(ProofError, match="cells flip"):
        prove_engines(engines, BuildRequest(workshop.bundle), lambda _: None)
    assert {path.name for path in engines.folder.iterdir()} >= {
        built.file for built in engines.record.files.values()
    }
    with open_model(ModelRequest(workshop.bundle, engines=engines)) as model:
        assert model.proven_elsewhere


def test_engines_of_a_processor_need_no_other_proof(workshop: Workshop) -> None:
    folder = workshop.build("onnxruntime", precision="fp32")
    assert folder.record.proven_where_it_runs
    assert "on this processor" in folder.record.proof["words"]
    with pytest.raises(EngineError, match="were proven where they run"):
        prove_engines(folder, BuildRequest(workshop.bundle), lambda _: None)


def test_a_plan_for_gpus_that_were_named_is_not_opened_on_another(workshop: Workshop) -> None:
    bundle = open_bundle(workshop.bundle)
    fits = unproven(
        workshop.build(precision="fp32"), device="", capability="", capabilities=("8.7", "8.9")
    )
    assert choose_engines(bundle, fits.folder).engines is not None
    other = unproven(fits, capabilities=("12.0",))
    with pytest.raises(EngineError, match=r"for other GPUs: .*built for 12.0, here 8.7"):
        choose_engines(bundle, other.folder)


def made(name: str, plans: Any = None) -> Candidate:
    precision, target = name.split()
    return Candidate(target, precision, {}, None, (), plans)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({}, "fp16 tensorrt-rtx"),
        ({"fp16 tensorrt-rtx": 1.0, "int8 tensorrt-rtx": 0.9}, "int8 tensorrt-rtx"),
        ({"fp16 tensorrt-rtx": 1.0, "int8 tensorrt-rtx": 0.99}, "fp16 tensorrt-rtx"),
        ({"fp32 tensorrt-rtx": 0.5, "fp16 tensorrt-rtx": 1.0}, "fp32 tensorrt-rtx"),
        ({"int8 onnxruntime": 0.99, "fp16 tensorrt-rtx": 1.0}, "int8 onnxruntime"),
    ],
)
def test_eight_bits_of_a_gpu_are_picked_only_where_they_win_by_the_clock(
    seconds: dict[str, float], best: str
) -> None:
    names = seconds or dict.fromkeys(
        f"{precision} tensorrt-rtx" for precision in ("fp32", "fp16", "int8")
    )
    assert races._best([made(name) for name in names], seconds).name == best


@pytest.mark.parametrize(
    "spec",
    [
        CropSpec(window_um=8.0, size_px=SIZE),
        CropSpec(window_um=8.0, size_px=SIZE, resized_px=2 * SIZE, mask=True),
        CropSpec(window_um=8.0, size_px=SIZE, cut="box"),
    ],
)
def test_cells_that_were_cut_before_come_out_of_their_tiles_as_they_were(spec: CropSpec) -> None:
    rng = np.random.default_rng(3)
    crops = rng.integers(0, 256, (7, SIZE, SIZE, 3), dtype=np.uint8)
    found, rows = [], []
    for ids, uncut in tiled(crops, spec, 5 * (2 * SIZE) ** 2):
        assert uncut.detections.frame.pixels.size // 3 <= 5 * (2 * SIZE) ** 2
        found.append(uncut.cut())
        rows += ids.tolist()
    np.testing.assert_array_equal(np.concatenate(found), crops)
    assert rows == list(range(7))


class Profiled(FakeExecution):
    """Tells a profiler, if it has one, of two layers; the first run of each is slow."""

    profiler: Any = None

    def execute_async_v3(self, stream: int) -> bool:
        if self.profiler is not None:
            self.profiler.report_layer_time("first", 2.0)
            self.profiler.report_layer_time("second", 0.5)
        return super().execute_async_v3(stream)


def test_layers_are_listed_and_timed(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workshop.fake.execution = Profiled
    workshop.fake.api.IProfiler = type("IProfiler", (), {})
    folder = str(workshop.build(precision="fp16").folder)
    assert run(["engines", "inspect", folder, "--layers"]) == 0
    shown = capsys.readouterr().out
    assert "cells: 1 layers: 1 int8 -> half" in shown
    assert "CaskConvolution" in shown
    assert "proven in tensorrt on this GPU" in shown
    assert run(["engines", "inspect", folder, "--profile", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["networks"]["cells"]["milliseconds"] == [
        {"name": "first", "ms": 2.0},
        {"name": "second", "ms": 0.5},
    ]
    assert not any(workshop.fake.driver.live.values())
    workshop.fake.refuses = "execute_async_v3"
    assert run(["engines", "inspect", folder, "--profile"]) == 4
    assert "could not be profiled: cells: execute_async_v3: refused" in capsys.readouterr().err
    assert not any(workshop.fake.driver.live.values())


def test_engines_of_a_processor_are_listed_and_not_timed(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(workshop.build("onnxruntime", precision="fp32").folder)
    assert run(["engines", "inspect", folder, "--layers"]) == 0
    assert "cells: 1 layers: 1 fp32" in capsys.readouterr().out
    assert run(["engines", "inspect", folder, "--profile"]) == 4
    assert "only plans tell it, and these run in onnxruntime" in capsys.readouterr().err


def test_prove_is_a_command_and_the_list_says_what_needs_it(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    request = BuildRequest(workshop.bundle, "fp32", "tensorrt")
    engines = unproven(build_engine(request, lambda _: None))
    key = engines.folder.name
    assert run(["engines", "list"]) == 0
    assert "proven on the CPU only" in capsys.readouterr().out
    # By its name in the cache.
    command = ["engines", "prove", key, "--bundle", str(workshop.bundle)]
    assert run(command) == 0
    assert "proven on cells of one colour each" in capsys.readouterr().out
    assert run(["engines", "list"]) == 0
    assert "CPU only" not in capsys.readouterr().out
    workshop.fake.refuses = "execute_async_v3"
    assert run(command) == 4
