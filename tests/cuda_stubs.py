"""The real pycuda, and the real cuda-bindings, over a driver of host memory (tests/cuda_stub.c).

pycuda is built against CUDA's headers, which come as wheels too: see `.ci/run`. cuda-bindings are a
wheel themselves.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.trt.cuda_bindings import BindingsDriver
from tests.probing import environment
from tests.trt_stubs import TOOLS, unmet

SOURCE = Path(__file__).with_name("cuda_stub.c")
NAME = "libcuda.so.1"
KINDS = ("device", "host", "stream", "event", "context")


INTERFACES = ("pycuda", "cuda-bindings")


def missing(interface: str) -> str:
    """Say why an interface cannot be tried here; empty when it can."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if not _there("pycuda" if interface == "pycuda" else "cuda.bindings"):
        absent.append(interface)
    return f"not installed: {', '.join(absent)}" if absent else ""


def stub_driver(interface: str, folder: Path) -> dict[str, str]:
    """Make the driver; gives the environment of a process that has it and no other."""
    text = SOURCE.read_text("utf-8")
    have = set(re.findall(r"^int (cu\w+)\(", text, re.MULTILINE))
    # cuda-bindings look functions up, and can do without those that are not there.
    linked = _linked() if interface == "pycuda" else []
    rest = sorted(name for name in linked if name.startswith("cu") and name not in have)
    refusals = "".join(f"int {name}(void) {{ return NOT_SUPPORTED; }}\n" for name in rest)
    source = folder / "libcuda.c"
    source.write_text(text + refusals, "utf-8")
    options = ["-std=gnu11", "-shared", "-fPIC", "-Wall", "-Wextra", f"-Wl,-soname,{NAME}"]
    made = folder / NAME
    subprocess.run(["gcc", *options, "-o", str(made), str(source)], check=True)
    # Preloaded, so that a real driver beside it is not what is found.
    return environment(LD_PRELOAD=str(made), EDGEAPL_STUB_DRIVER=str(made))


def _linked() -> list[str]:
    found = importlib.util.find_spec("pycuda")
    assert found is not None
    assert found.origin is not None
    (binary,) = Path(found.origin).parent.glob("_driver*.so")
    return unmet(binary)


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


class StubDriver:
    """What `load_driver` gives, and what tests may ask of the driver below it."""

    name = "Stub GPU 0"
    capability = (8, 7)

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._below = ctypes.CDLL(os.environ["EDGEAPL_STUB_DRIVER"])
        self._below.stub_size.restype = ctypes.c_size_t
        self._kept: list[object] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    @property
    def through(self) -> str:
        """What the driver below is asked through."""
        return "cuda-bindings" if isinstance(self._driver, BindingsDriver) else "pycuda"

    def record(self, call: str) -> None:
        """Take no notes: the driver below does not know names of TensorRT."""

    def memory(self, address: int) -> NDArray[np.uint8]:
        """Give the bytes at an address of the GPU."""
        size = int(self._below.stub_size(ctypes.c_void_p(address)))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def enqueue(self, stream: int, work: Callable[[], None]) -> None:
        """Put work on a stream."""
        call = ctypes.CFUNCTYPE(None)(work)
        self._kept.append(call)
        assert self._below.stub_enqueue(ctypes.c_void_p(stream), call) == 0

    def fail(self, call: str, after: int, code: int) -> None:
        """Let one of the next calls answer with an error code of CUDA."""
        self._below.stub_fail(call.encode(), after, code)

    @property
    def live(self) -> dict[str, int]:
        """What was taken and not given back, by kind; of contexts, how often one was taken."""
        counts = (ctypes.c_int * len(KINDS))()
        self._below.stub_live(counts)
        return {kind: count for kind, count in zip(KINDS, counts, strict=True) if count}

    @property
    def depth(self) -> int:
        """How many contexts are pushed on this thread."""
        return int(self._below.stub_depth())
