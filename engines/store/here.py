"""What engines of a target would have to be built for to run on this machine now."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version

from edgeapl.engines.registry import CUDA, PLANS, TARGETS, available_targets
from edgeapl.engines.store.cuda import cuda_device
from edgeapl.engines.store.machine import Device, cpu
from edgeapl.errors import EngineError

PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    CUDA: ("onnxruntime-gpu",),
    "tensorrt": ("tensorrt",),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt-rtx"),
}
"""Target to the packages that may bring its runtime."""

NO_DEVICE = Device("", "")


def runtime_version(target: str) -> str:
    """Give the version of a target's runtime; raises EngineError when it is not installed."""
    if target not in TARGETS:
        raise EngineError("unknown target", target, f"choose one of: {', '.join(TARGETS)}")
    for package in PACKAGES[target]:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    raise EngineError("runtime is missing", target, f"pip install {PACKAGES[target][0]}")


def device_here(target: str, number: int = 0) -> Device:
    """Give what engines of a target run on here; of a GPU that is not there, nothing.

    number : of the GPU, where there are several.
    """
    if target == CUDA:
        return cuda_device(number) or NO_DEVICE
    if target not in PLANS:
        return cpu()
    memory = importlib.import_module("edgeapl.engines.trt.memory")
    try:
        driver = memory.load_driver()
    except EngineError:
        return NO_DEVICE
    if number >= driver.Device.count():
        return NO_DEVICE
    gpu = memory.describe_gpu(driver, number)
    return Device(gpu.name, gpu.compute_capability)


def runs_here(target: str) -> bool:
    """Whether engines of a target can be run on this machine now."""
    return any(one.target == target and not one.run for one in available_targets())
