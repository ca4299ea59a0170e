"""What engines must be built for to run on this machine now."""

from __future__ import annotations

import importlib
import importlib.util
import re
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from edgeapl.engines.onnxruntime_package import onnxruntime_package
from edgeapl.engines.registry import CUDA, ON_GPU, PLANS, TARGETS, available_targets
from edgeapl.engines.store.cuda import cuda_device
from edgeapl.engines.store.machine import Device, cpu
from edgeapl.errors import EngineError

PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    CUDA: ("onnxruntime-gpu",),
}
"""Target to the packages that may bring its runtime; a plan's library is asked for as a module."""

NO_DEVICE = Device("", "")

STATED = re.compile(r'^__version__ *= *["\']([^"\']+)["\']', re.MULTILINE)


def runtime_version(target: str) -> str:
    """Return the version of a target's runtime; raises EngineError when it is not installed."""
    if target not in TARGETS:
        raise EngineError("unknown target", target, f"choose one of: {', '.join(TARGETS)}")
    if target in PLANS:
        module, package = PLANS[target]
        found = module_version(module)
        if found is None:
            raise EngineError("runtime is missing", target, f"pip install {package}")
        return found
    brought = onnxruntime_package()
    if brought is not None and brought.name in PACKAGES[target]:
        return brought.version
    for package in PACKAGES[target]:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    raise EngineError("runtime is missing", target, f"pip install {PACKAGES[target][0]}")


def module_version(module: str) -> str | None:
    """Return the version that a module states, without importing it; None without the module.

    Half a dozen packages bring the module ``tensorrt`` (``tensorrt``, ``tensorrt-cu12``, JetPack's
    own), so none is asked for by name. To import it takes seconds and may fail without a GPU.
    """
    if not importlib.util.find_spec(module):
        return None
    for name in (module, f"{module}_bindings"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            stated = STATED.search(Path(spec.origin).read_text("utf-8", "replace"))
            if stated:
                return stated[1]
    packages = packages_distributions().get(module, ())
    return version(packages[0]) if packages else None


def device_here(target: str, number: int = 0) -> Device:
    """Return what engines of a target run on here; nothing for a GPU that is not there.

    number : of the GPU, where there are several.
    """
    if target == CUDA:
        return cuda_device(number) or NO_DEVICE
    if target not in PLANS:
        return cpu()
    memory = importlib.import_module("edgeapl.engines.trt.driver")
    try:
        driver = memory.load_driver()
    except EngineError:
        return NO_DEVICE
    if number >= driver.Device.count():
        return NO_DEVICE
    gpu = memory.describe_gpu(driver, number)
    return Device(gpu.name, gpu.compute_capability)


def runs_here(target: str, number: int = 0) -> bool:
    """Whether engines of a target can be run on this machine now.

    number : of the GPU. Its driver may be installed where there is none.
    """
    able = any(one.target == target and not one.run for one in available_targets())
    return able and (target not in ON_GPU or bool(device_here(target, number).name))
