"""onnxruntime's CUDA provider as a target, over sessions that compute on the processor."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from edgeapl import doctor
from edgeapl.bundle.load import open_bundle
from edgeapl.calibration.builder import build, plans, sidecar
from edgeapl.calibration.builder.build import BuildRequest, build_engine
from edgeapl.calibration.builder.proof_slides import ProofSlides
from edgeapl.engines import onnxruntime_package, registry
from edgeapl.engines.ort import CUDA_ARENA, OrtEngine, _load_cuda
from edgeapl.engines.ort_cuda import CudaEngine
from edgeapl.engines.registry import CUDA, available_targets, open_engine
from edgeapl.engines.store import local_target
from edgeapl.engines.store.cuda import cuda_device
from edgeapl.engines.store.machine import Device
from edgeapl.engines.store.record import Precision
from edgeapl.errors import DeviceError, EngineError, UsageError
from edgeapl.model import EMBEDDED, ModelRequest, engine_choice, open_model
from tests.small_bundle import SIZE, cell_network, small_bundle

PROVIDERS = ["CUDAExecutionProvider", "CPUExecutionProvider"]
CELLS = np.random.default_rng(8).integers(0, 256, (40, SIZE, SIZE, 3), dtype=np.uint8)
SLIDES = ProofSlides((("drawn", CELLS),), (), "cells of noise")


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Any]]:
    """A machine with the provider; gives the providers that each session was asked for."""
    asked: list[Sequence[Any]] = []
    real = ort.InferenceSession

    class Session(real):  # type: ignore[misc, valid-type]
        def __init__(self, model: bytes, options: Any, providers: Sequence[Any]) -> None:
            asked.append(providers)
            self._named = PROVIDERS if len(providers) > 1 else providers
            super().__init__(model, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> Any:
            return self._named

    monkeypatch.setattr(ort, "get_available_providers", lambda: PROVIDERS)
    monkeypatch.setattr(ort, "InferenceSession", Session)
    monkeypatch.setattr(registry, "_no_provider", lambda package: "")
    monkeypatch.setattr(registry, "_nvidia_driver", lambda: True)
    monkeypatch.setattr(local_target, "cuda_device", lambda number: Device("NVIDIA H200", "9.0"))
    version = local_target.runtime_version
    for module in (build, engine_choice, plans, sidecar):
        monkeypatch.setattr(
            module, "runtime_version", lambda target: "1.27" if target == CUDA else version(target)
        )
    monkeypatch.setattr(build, "slides_for", lambda *_: SLIDES)
    return asked


def test_it_multiplies_in_full_and_takes_no_more_memory_than_it_may(
    sessions: list[Sequence[Any]],
) -> None:
    engine = open_engine(CUDA, "cells", cell_network(), device=1)
    ((name, options), rest) = sessions[-1]
    assert (name, rest) == tuple(PROVIDERS)
    assert options["use_tf32"] == "0"
    assert options["gpu_mem_limit"] == str(CUDA_ARENA)
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert options["device_id"] == "1"
    assert "CUDA" in engine.runtime


def test_it_answers_as_onnxruntime_does_and_images_go_in_as_bytes(
    sessions: list[Sequence[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bound: list[tuple[str, Any]] = []
    binding = ort.IOBinding.bind_cpu_input

    def noted(self: Any, name: str, values: Any) -> None:
        bound.append((name, values.dtype))
        binding(self, name, values)

    monkeypatch.setattr(ort.IOBinding, "bind_cpu_input", noted)
    engine = open_engine(CUDA, "cells", cell_network())
    found = engine.run({"cells": CELLS[::2]})  # every second: not contiguous
    wanted = OrtEngine("cells", cell_network()).run({"cells": CELLS[::2]})
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values)
    assert set(bound) == {("cells", np.dtype("uint8"))}
    with pytest.raises(EngineError, match="cells"):
        engine.run({"cells": CELLS.astype(np.float32)})


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of all runs on the GPU."""
    met: list[tuple[int, ...]] = []
    binding = ort.IOBinding.bind_cpu_input

    def noted(self: Any, name: str, values: Any) -> None:
        met.append(values.shape)
        binding(self, name, values)

    monkeypatch.setattr(ort.IOBinding, "bind_cpu_input", noted)
    return met


def test_every_size_of_a_batch_is_run_before_it_is_ready_and_no_other_is_met_afterwards(
    sessions: list[Sequence[Any]], shapes: list[tuple[int, ...]]
) -> None:
    engine = open_engine(CUDA, "cells", cell_network())
    warmed = [shape[0] for shape in shapes]
    assert warmed == [4, 8, 16, 32]
    plain = OrtEngine("cells", cell_network())
    many = np.concatenate([CELLS, CELLS, CELLS])
    for rows in (1, 3, 4, 17, 32, 33, 100):
        found, wanted = (one.run({"cells": many[:rows]}) for one in (engine, plain))
        for name, values in wanted.items():
            assert found[name].shape == values.shape
            assert np.allclose(np.asarray(found[name], "f4"), np.asarray(values, "f4"), atol=1e-6)
    assert {shape[0] for shape in shapes} == set(warmed)


def test_a_network_of_one_row_is_run_once_before_it_is_ready(
    sessions: list[Sequence[Any]], shapes: list[tuple[int, ...]]
) -> None:
    network = open_bundle(EMBEDDED).read("head.onnx")
    engine = open_engine(CUDA, "head", network)
    assert shapes == [(1, 3)]
    ratios = {"ratios": np.array([[0.1, 0.2, 0.7]], np.float32)}
    for name, values in OrtEngine("head", network).run(ratios).items():
        np.testing.assert_array_equal(engine.run(ratios)[name], values)


def test_a_size_for_which_memory_is_short_is_left_out(
    sessions: list[Sequence[Any]],
    shapes: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, short = CudaEngine._bound, "Failed to allocate memory for requested buffer"

    def small(self: Any, session: Any, inputs: Any, options: Any) -> Any:
        if len(inputs["cells"]) > 8:
            raise RuntimeError(short)
        return run(self, session, inputs, options)

    monkeypatch.setattr(CudaEngine, "_bound", small)
    engine = open_engine(CUDA, "cells", cell_network())
    wanted = OrtEngine("cells", cell_network()).run({"cells": CELLS})
    for name, values in engine.run({"cells": CELLS}).items():
        assert np.allclose(np.asarray(values, "f4"), np.asarray(wanted[name], "f4"), atol=1e-6)
    assert {shape[0] for shape in shapes} == {4, 8}
    short = "an illegal memory access was encountered"
    with pytest.raises(DeviceError, match="illegal"):
        open_engine(CUDA, "cells", cell_network())
    monkeypatch.setattr(CudaEngine, "_bound", none)
    with pytest.raises(EngineError, match="GPU memory is short: cells: CUDA failure 2: out of mem"):
        open_engine(CUDA, "cells", cell_network())


def none(self: Any, session: Any, inputs: Any, options: Any) -> Any:
    raise RuntimeError("CUDA failure 2: out of memory")


def test_a_provider_that_lacks_a_library_names_it_in_one_line(
    sessions: list[Sequence[Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ort.InferenceSession, "get_providers", lambda self: PROVIDERS[1:])
    with pytest.raises(EngineError, match=r"could not be started: cells: cuda: .*providers_cuda"):
        open_engine(CUDA, "cells", cell_network())
    lacks = "libcublasLt.so.13: cannot open shared object file"
    monkeypatch.setattr("edgeapl.engines.ort._library_fault", lambda: lacks)
    with pytest.raises(EngineError, match=rf"cuda: {lacks}.*; pip install") as caught:
        open_engine(CUDA, "cells", cell_network())
    assert "\n" not in str(caught.value)


def test_a_module_whose_files_are_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ort, "InferenceSession")
    with pytest.raises(EngineError, match="runtime is damaged: onnxruntime: pip install"):
        open_engine("onnxruntime", "cells", cell_network())


def test_libraries_of_nvidias_wheels_are_loaded_before_the_first_session(
    sessions: list[Sequence[Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    loaded: list[int] = []

    def preload() -> None:
        print("Failed to load libcudnn.so.9")  # as onnxruntime does
        loaded.append(len(sessions))

    monkeypatch.setattr(ort, "preload_dlls", preload, raising=False)
    _load_cuda.cache_clear()
    for _ in range(2):
        open_engine(CUDA, "cells", cell_network()).close()
    assert loaded == [0]
    assert not capsys.readouterr().out
    open_engine("onnxruntime", "cells", cell_network()).close()
    _load_cuda.cache_clear()


def test_it_is_built_proven_raced_and_found_again(
    sessions: list[Sequence[Any]], tmp_path: Path
) -> None:
    bundle = small_bundle(tmp_path / "bundle").folder
    request = BuildRequest(bundle, target=CUDA, out=tmp_path / "engines")
    engines = build_engine(request, lambda _: None)
    record = engines.record
    assert record.target == record.proof["run_in"] == CUDA
    assert record.proven_where_it_runs
    assert set(record.proof["candidates"]) == {f"fp32 {CUDA}", f"fp16 {CUDA}"}
    assert f"{record.precision} {CUDA}" in record.timing["seconds_for_16_cells"]
    assert (record.built_for.device, record.built_for.capability) == ("NVIDIA H200", "9.0")
    assert record.settings.workers == 1
    with open_model(ModelRequest(bundle, engines=engines.folder)) as model:
        assert "CUDA" in model.runtime
        assert not model.proven_elsewhere


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("tf32", f"TF32 is a precision of TensorRT: {CUDA}: give --target tensorrt"),
        ("int8", f"INT8 is computed in floats by: {CUDA}: give --precision fp16"),
    ],
)
def test_a_precision_that_it_does_not_have_is_refused_before_anything_is_done(
    sessions: list[Sequence[Any]],
    precision: Precision,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = small_bundle(tmp_path / "bundle").folder
    monkeypatch.setattr(build, "slides_for", None)
    sessions.clear()  # those that sealed the bundle
    with pytest.raises(UsageError, match=message):
        build_engine(BuildRequest(folder, precision, CUDA, tmp_path / "out"), lambda _: None)
    assert not sessions


@pytest.mark.parametrize(
    ("package", "driver", "gpu", "message"),
    [
        ("not installed: pip install onnxruntime-gpu", True, True, "pip install onnxruntime-gpu"),
        ("", False, True, "no NVIDIA driver"),
        ("", True, False, "no such GPU on this machine"),
    ],
)
def test_where_it_can_not_run_that_is_said_in_one_line(
    sessions: list[Sequence[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    driver: bool,
    gpu: bool,
    message: str,
) -> None:
    monkeypatch.setattr(registry, "_no_provider", lambda _: package)
    monkeypatch.setattr(registry, "_nvidia_driver", lambda: driver)
    if not gpu:
        monkeypatch.setattr(local_target, "cuda_device", lambda number: None)
    bundle = small_bundle(tmp_path / "bundle").folder
    with pytest.raises(EngineError, match=message) as caught:
        build_engine(BuildRequest(bundle, target=CUDA, out=tmp_path / "e"), lambda _: None)
    assert "\n" not in str(caught.value)
    run = {one.target: one.run for one in available_targets()}[CUDA]
    assert bool(run) is not (driver and not package)


INFO = "package_name = '{}'\n__version__ = '{}'\n"


@pytest.mark.parametrize(
    ("installed", "on_top", "said"),
    [
        ((), ("onnxruntime", "1.30.0"), "not installed: pip install 'edgeapl[onnxruntime-cuda]'"),
        (("onnxruntime-gpu",), ("onnxruntime", "1.30.0"), "hidden by onnxruntime 1.30.0: pip unin"),
        (("onnxruntime-gpu",), ("onnxruntime-gpu", "1.31.1"), ""),
        (("onnxruntime-gpu",), None, ""),
        (("onnxruntime-gpu",), (), "its files are gone: pip uninstall -y onnxruntime && pip ins"),
    ],
)
def test_of_two_packages_with_one_module_the_one_that_is_imported_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    installed: tuple[str, ...],
    on_top: tuple[str, ...] | None,
    said: str,
) -> None:
    folder = tmp_path / "onnxruntime"
    (folder / "capi").mkdir(parents=True)
    (folder / "__init__.py").touch()
    if on_top:
        (folder / onnxruntime_package.WHERE).write_text(INFO.format(*on_top))

    def version(name: str) -> str:
        if name in installed:
            return "1.31.1"
        raise PackageNotFoundError(name)

    spec = SimpleNamespace(origin=None if on_top == () else str(folder / "__init__.py"))
    for module in (registry, local_target):
        monkeypatch.setattr(module, "version", version)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    monkeypatch.setattr(registry, "_nvidia_driver", lambda: True)
    found = {one.target: one.run for one in available_targets()}[CUDA]
    assert found.startswith(said)
    assert bool(found) == bool(said)
    assert "\n" not in found
    if on_top:
        assert local_target.runtime_version("onnxruntime") == on_top[1]


@pytest.mark.parametrize(("there", "health"), [("onnxruntime-gpu", "ok"), ("", "problem")])
def test_the_doctor_takes_either_package(
    monkeypatch: pytest.MonkeyPatch, there: str, health: str
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "1.31.1" if name == there else None)
    found = {check.name: check.health.value for check in doctor._packages()}
    assert found["onnxruntime"] == health


class Driver(SimpleNamespace):
    """libcuda with some GPUs; refuses : the call that fails."""

    def __init__(self, count: int = 2, refuses: str = "") -> None:
        super().__init__()
        self.count, self.refuses = count, refuses

    def _code(self, call: str) -> int:
        return 100 if self.refuses == call else 0

    def cuInit(self, flags: int) -> int:
        return self._code("cuInit")

    def cuDeviceGet(self, device: Any, number: int) -> int:
        device._obj.value = number
        return 101 if number >= self.count else 0

    def cuDeviceGetName(self, name: Any, room: int, device: Any) -> int:
        ctypes.memmove(name, b"NVIDIA H200\0", 12)
        return self._code("cuDeviceGetName")

    def cuDeviceGetAttribute(self, value: Any, which: int, device: Any) -> int:
        value._obj.value = {75: 9, 76: 0}[which]
        return self._code("cuDeviceGetAttribute")


@pytest.mark.parametrize(
    ("library", "number", "found"),
    [
        (Driver(), 1, Device("NVIDIA H200", "9.0")),
        (Driver(), 2, None),
        (Driver(refuses="cuInit"), 0, None),
        (Driver(refuses="cuDeviceGetAttribute"), 0, None),
    ],
)
def test_the_driver_itself_tells_the_gpu(library: Any, number: int, found: Device | None) -> None:
    assert cuda_device(number, library) == found
