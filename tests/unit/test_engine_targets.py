"""Which engines can be built and run here, and onnxruntime's GPU provider."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import numpy as np
import onnxruntime as ort
import pytest

from edgeapl import doctor
from edgeapl.engines import ort as ort_engine
from edgeapl.engines import registry
from edgeapl.engines.ort import OrtEngine
from edgeapl.engines.registry import TARGETS, available_targets
from edgeapl.engines.store import local_target
from edgeapl.engines.trt import library as trt_library
from edgeapl.engines.trt.library import find_library
from edgeapl.errors import DeviceError, EngineError
from tests.small_bundle import SIZE, cell_network


def test_every_target_is_listed_once_in_order() -> None:
    assert tuple(found.target for found in available_targets()) == TARGETS


def test_asking_what_is_there_imports_no_runtime() -> None:
    code = (
        "import sys; from edgeapl.engines.registry import available_targets; available_targets();"
        "heavy = {'onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx', 'pycuda'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("installed", "driver", "target", "build", "run"),
    [
        ({"tensorrt_rtx", "pycuda"}, True, "tensorrt-rtx", "", ""),
        ({"tensorrt_rtx", "pycuda"}, False, "tensorrt-rtx", "", "no NVIDIA driver"),
        ({"tensorrt_rtx"}, True, "tensorrt-rtx", "", "pip install cuda-bindings, or pycuda"),
        ({"tensorrt_rtx", "cuda.bindings"}, True, "tensorrt-rtx", "", ""),
        ({"tensorrt_lean", "pycuda"}, True, "tensorrt", "only tensorrt_lean", "only tensorrt_lean"),
        (set(), True, "tensorrt", "edgeapl[tensorrt-cu13]", "[tensorrt-cu12]"),
        ({"tensorrt", "pycuda"}, False, "tensorrt", "no NVIDIA driver", "no NVIDIA driver"),
        ({"tensorrt", "pycuda"}, True, "tensorrt", "", ""),
        (set(), True, "openvino", "edgeapl[openvino]", "edgeapl[openvino]"),
    ],
)
def test_a_target_needs_its_library_and_a_plan_needs_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
    installed: set[str],
    driver: bool,
    target: str,
    build: str,
    run: str,
) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: name if name in installed else None
    )
    monkeypatch.setattr(registry, "_nvidia_driver", lambda: driver)
    found = {one.target: one for one in available_targets()}[target]
    for text, expected in ((found.build, build), (found.run, run)):
        assert text == "" if expected == "" else expected in text


def test_the_doctor_lists_every_target() -> None:
    names = [check.name for check in doctor._targets()]
    assert names == [f"target {target}" for target in TARGETS]


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setattr(trt_library, "find_library", find_library.__wrapped__)
    with pytest.raises(EngineError, match=r"pip install 'edgeapl\[rtx\]'"):
        trt_library.find_library("tensorrt-rtx")


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="CUDA is here")
def test_a_provider_that_is_not_there_is_never_replaced_by_the_cpu() -> None:
    with pytest.raises(EngineError, match="provider is missing: cuda"):
        OrtEngine("cells", cell_network(), provider="cuda")
    with pytest.raises(EngineError, match="choose one of: cpu, cuda"):
        OrtEngine("cells", cell_network(), provider="abacus")


def test_a_provider_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # As onnxruntime does when cuDNN is missing: listed, and then the CPU in silence.
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: providers)
    real = ort.InferenceSession
    monkeypatch.setattr(
        ort,
        "InferenceSession",
        lambda model, options, providers: real(model, options, providers=["CPUExecutionProvider"]),
    )
    with pytest.raises(EngineError, match="could not be started: cells: cuda"):
        OrtEngine("cells", cell_network(), provider="cuda")


def test_the_cpu_is_the_default_and_the_runtime_says_so() -> None:
    engine = OrtEngine("cells", cell_network())
    assert engine.runtime.endswith("CPUExecutionProvider")
    assert engine.run({"cells": np.zeros((1, SIZE, SIZE, 3), np.uint8)})


@pytest.mark.parametrize(("provider", "kind"), [("cpu", EngineError), ("cuda", DeviceError)])
def test_a_gpu_that_failed_in_onnxruntime_is_of_no_more_use_to_its_process(
    provider: str, kind: type[EngineError]
) -> None:
    class Failing:
        def run(self, *_: object) -> None:
            raise RuntimeError("CUDA failure 700: an illegal memory access was encountered")

    engine = OrtEngine("cells", cell_network())
    engine._session, engine._provider = Failing(), ort_engine.PROVIDERS[provider]
    with pytest.raises(EngineError, match="illegal memory access") as caught:
        engine.run({"cells": np.zeros((1, SIZE, SIZE, 3), np.uint8)})
    assert type(caught.value) is kind


OF_BINDINGS = "from tensorrt_bindings import __version__\n"

PACKAGES = {
    "tensorrt-cu12": {"tensorrt_bindings": '__version__ = "10.3.0"\n', "tensorrt": OF_BINDINGS},
    "tensorrt-cu13": {"tensorrt_bindings": "__version__ = '11.4.0.106'\n", "tensorrt": OF_BINDINGS},
    "of JetPack": {"tensorrt": 'import ctypes\n\n__version__ = "10.3.0"\n'},
}
"""Name of a package to the modules that it brings; no package is called ``tensorrt``."""


@pytest.mark.parametrize("package", PACKAGES)
def test_a_library_is_asked_for_as_a_module_whatever_its_package_is_called(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, text in PACKAGES[package].items():
        (tmp_path / module).mkdir()
        # Never imported: that would load libraries that only a GPU has a use for.
        fails = f"{text}raise ImportError('libnvinfer.so is not here')\n"
        (tmp_path / module / "__init__.py").write_text(fails)
    monkeypatch.syspath_prepend(tmp_path)
    wanted = "11.4.0.106" if package == "tensorrt-cu13" else "10.3.0"
    assert local_target.runtime_version("tensorrt") == wanted
    (check,) = [check for check in doctor._packages() if check.name == "tensorrt"]
    assert check.detail == wanted


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is here")
def test_a_library_that_is_not_there_names_the_extras_for_both_versions_of_cuda() -> None:
    with pytest.raises(EngineError, match=r"tensorrt: pip install .*-cu13.*-cu12"):
        local_target.runtime_version("tensorrt")


def test_the_version_that_is_read_is_the_one_that_the_library_gives_itself() -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    assert local_target.runtime_version("tensorrt-rtx") == rtx.__version__


def test_no_extra_that_builds_or_runs_plans_is_compiled_where_it_is_installed() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert [name for name, needs in extras.items() if "pycuda" in str(needs)] == ["pycuda"]
    for name in ("rtx", "tensorrt-cu12", "tensorrt-cu13"):
        needs = " ".join(extras[name])
        assert "cuda-bindings" in needs, name
        assert "edgeapl[build]" in needs, name
