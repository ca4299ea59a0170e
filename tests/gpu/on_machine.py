"""What is here, and NVIDIA's own watch over a short pass."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from edgeapl.engines.registry import PLANS, Availability, available_targets
from edgeapl.engines.store.clocks import clocks
from edgeapl.engines.store.local_target import module_version
from edgeapl.engines.trt.cuda_bindings import BindingsDriver
from edgeapl.engines.trt.driver import describe_gpu
from edgeapl.engines.trt.memory import GpuMemory
from tests.gpu.record import UnmetError
from tests.gpu.site import Site

PACKAGES = ("pycuda", "cuda-bindings", "torch", "onnxruntime", "onnxruntime-gpu", "numpy", "onnx")
ASKED = ("driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit", "pstate")
WATCHED = "memory.copies"
SANITIZER_S = 120


def machine(site: Site) -> dict[str, Any]:
    """Name the GPU, the driver, and every version that matters."""
    gpu = describe_gpu(site.driver)
    memory = GpuMemory(site.driver)
    with memory.active():
        free = memory.unused
    memory.close()
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    for module in ("tensorrt", "tensorrt_rtx"):
        versions[module] = module_version(module)
    below = getattr(site.driver, "_driver", site.driver)
    return {
        "gpu": gpu.name,
        "compute_capability": gpu.compute_capability,
        "driver": gpu.driver,
        "asked_through": "cuda-bindings" if isinstance(below, BindingsDriver) else "pycuda",
        "memory_free": free,
        "versions": versions,
        "targets": {one.target: _state(site, one) for one in available_targets()},
        "clocks": clocks(),
        "nvidia_smi": _told_by_nvidia_smi(),
    }


def _told_by_nvidia_smi() -> dict[str, str]:
    """Give clocks and power, which graphics cards tell this program alone."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    command = [program, f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    first = next(iter(done.stdout.splitlines()), "").split(", ")
    return dict(zip(ASKED, first, strict=False))


def _state(site: Site, one: Availability) -> str:
    refusal = "" if one.run or one.target not in PLANS else site.refusal(one.target)
    return one.run or refusal or "runs"


def sanitizer(site: Site) -> dict[str, Any]:
    """Let compute-sanitizer watch a short pass: no access of memory may be wrong."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        raise UnmetError("compute-sanitizer is not here")
    if site.dry:
        raise UnmetError("there is no GPU to watch")
    ours = [sys.executable, "-m", "tests.gpu.check", "--only", WATCHED, "--short"]
    done = subprocess.run(
        [program, "--error-exitcode", "9", *ours],
        capture_output=True,
        text=True,
        check=False,
        timeout=SANITIZER_S,
    )
    if done.returncode:
        raise UnmetError(f"exit code {done.returncode}: {done.stdout[-600:]}")
    return {"watched": WATCHED, "said": done.stdout.strip().splitlines()[-1:]}
