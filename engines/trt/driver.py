"""CUDA's driver in Python: pycuda, or NVIDIA's own bindings where it is not installed."""

from __future__ import annotations

import functools
import importlib
import warnings
from dataclasses import dataclass
from typing import Any

from edgeapl.errors import EngineError

MEND = "pip install cuda-bindings, or pycuda, on a machine with an NVIDIA driver"


def load_driver() -> Any:
    """Start CUDA's driver; raises EngineError where there is no GPU, or nothing that asks it."""
    driver = _interface()
    try:
        driver.init()
        count = driver.Device.count()
    except driver.Error as error:
        raise EngineError("GPU cannot be used", "NVIDIA driver", str(error)) from error
    if count == 0:
        raise EngineError("GPU cannot be used", "none found", "choose --target onnxruntime")
    return driver


@functools.cache
def _interface() -> Any:
    """Return ``pycuda.driver``; where it is not installed, the same of NVIDIA's cuda-bindings."""
    missing = []
    for name, load in (("pycuda", _pycuda), ("cuda-bindings", _bindings)):
        try:
            return load()
        except (ImportError, OSError) as error:  # OSError: no NVIDIA driver on this machine
            missing.append(f"{name} ({error})")
    raise EngineError("runtime is missing", "; ".join(missing), MEND)


def _pycuda() -> Any:
    with warnings.catch_warnings():
        # On a machine without a driver pycuda warns, in many lines, and then raises.
        warnings.simplefilter("ignore")
        return importlib.import_module("pycuda.driver")


def _bindings() -> Any:
    return importlib.import_module("edgeapl.engines.trt.cuda_bindings").open_driver()


def on_gpu(driver: Any, number: int) -> Any:
    """Return the driver of one GPU among several, for which that GPU is the first.

    The same object at every call, as what plans share on a GPU is found by it.
    """
    return driver if number == 0 else _numbered(driver, number)


@functools.cache
def _numbered(driver: Any, number: int) -> _Numbered:
    return _Numbered(driver, number)


class _Numbered:
    """A driver whose first GPU is one of those behind it."""

    def __init__(self, driver: Any, number: int) -> None:
        self._driver = driver
        self._number = number

    def Device(self, index: int) -> Any:  # noqa: N802 - pycuda's name
        """Return a GPU, counted from this one."""
        return self._driver.Device(self._number + index)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


@dataclass(frozen=True, slots=True)
class Gpu:
    """What a GPU calls itself. driver : version of CUDA that the installed driver offers."""

    name: str
    compute_capability: str
    driver: str


def describe_gpu(driver: Any, index: int = 0) -> Gpu:
    """Ask a GPU for its name, compute capability and driver."""
    device = driver.Device(index)
    major, minor = device.compute_capability()
    version = int(driver.get_driver_version())
    return Gpu(device.name(), f"{major}.{minor}", f"{version // 1000}.{version % 1000 // 10}")
