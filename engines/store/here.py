"""What engines of a target would have to be built for to run on this machine now."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version

from edgeapl.engines.registry import PLANS, TARGETS
from edgeapl.engines.store.machine import Device, cpu
from edgeapl.errors import EngineError

PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
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


def device_here(target: str) -> Device:
    """Give what engines of a target run on here; of a GPU that is not there, nothing."""
    if target not in PLANS:
        return cpu()
    memory = importlib.import_module("edgeapl.engines.trt.memory")
    try:
        gpu = memory.describe_gpu(memory.load_driver())
    except EngineError:
        return NO_DEVICE
    return Device(gpu.name, gpu.compute_capability)
