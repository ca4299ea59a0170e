"""What `edgeapl.engines.trt.memory` takes of ``pycuda.driver``, made of NVIDIA's cuda-bindings.

They come as wheels for every Python and need no toolkit, where pycuda is compiled with one. The
names and the messages are pycuda's, so that the rest need not know which of the two is there.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAME_BYTES = 256


class CudaError(Exception):
    """A call of the driver failed."""


def open_driver() -> BindingsDriver:
    """Return the driver; raises ImportError without the package, OSError without a driver."""
    api: Any = importlib.import_module("cuda.bindings.driver")
    try:
        api.cuDriverGetVersion()
    except RuntimeError as error:  # its own class for a library that was not found
        raise OSError(str(error)) from error
    return BindingsDriver(api)


class BindingsDriver:
    """Stands in for the module ``pycuda.driver``. api : the module ``cuda.bindings.driver``."""

    Error = CudaError
    event_flags = SimpleNamespace(BLOCKING_SYNC=1, DISABLE_TIMING=2)
    host_alloc_flags = SimpleNamespace(DEVICEMAP=2)

    def __init__(self, api: Any) -> None:
        self._api = api
        self.device_attribute = SimpleNamespace(
            INTEGRATED=api.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED
        )
        driver = self

        class Device(_Device):
            def __init__(self, index: int) -> None:
                super().__init__(driver, index)

            @staticmethod
            def count() -> int:
                return int(driver.ask("cuDeviceGetCount"))

        self.Device = Device
        self.Context = SimpleNamespace(pop=lambda: self.ask("cuCtxPopCurrent"))

    def ask(self, call: str, *given: Any) -> Any:
        """Call the driver and return its answer; raises CudaError for a refusal."""
        code, *answer = getattr(self._api, call)(*given)
        if code != self._api.CUresult.CUDA_SUCCESS:
            _, text = self._api.cuGetErrorString(code)
            raise CudaError(f"{call} failed: {text.decode() if text else code}")
        return answer[0] if len(answer) == 1 else tuple(answer)

    def init(self) -> None:
        """Start."""
        self.ask("cuInit", 0)

    def get_driver_version(self) -> int:
        """Return the version of CUDA that the driver offers, 1000 * major + 10 * minor."""
        return int(self.ask("cuDriverGetVersion"))

    def mem_get_info(self) -> tuple[int, int]:
        """Return the bytes that are free, and all."""
        free, everything = self.ask("cuMemGetInfo")
        return int(free), int(everything)

    def Stream(self) -> _Stream:  # noqa: N802 - pycuda's name
        """Make a stream."""
        return _Stream(self, self.ask("cuStreamCreate", 0))

    def Event(self, flags: int = 0) -> _Event:  # noqa: N802 - pycuda's name
        """Make an event."""
        return _Event(self, self.ask("cuEventCreate", flags))

    def pagelocked_empty(
        self, count: int, dtype: np.dtype[Any], *, mem_flags: int = 0
    ) -> NDArray[np.generic]:
        """Take host memory whose base can be freed."""
        return np.asarray(_Pinned(self, count, dtype, mem_flags))

    def mem_alloc(self, size: int) -> _Allocation:
        """Take device memory."""
        return _Allocation(self, int(self.ask("cuMemAlloc", size)))

    def memcpy_htod_async(self, to: int, source: NDArray[np.generic], stream: _Stream) -> None:
        """Start copying to the device."""
        self.ask("cuMemcpyHtoDAsync", to, source.ctypes.data, source.nbytes, stream.handle)

    def memcpy_dtoh_async(self, to: NDArray[np.generic], source: int, stream: _Stream) -> None:
        """Start copying from the device."""
        self.ask("cuMemcpyDtoHAsync", to.ctypes.data, source, to.nbytes, stream.handle)

    def memcpy_dtod_async(self, to: int, source: int, size: int, stream: _Stream) -> None:
        """Start copying within the device."""
        self.ask("cuMemcpyDtoDAsync", to, source, size, stream.handle)

    def memset_d8_async(self, to: int, byte: int, count: int, stream: _Stream) -> None:
        """Start filling device memory."""
        self.ask("cuMemsetD8Async", to, byte, count, stream.handle)


class _Device:
    def __init__(self, driver: BindingsDriver, index: int) -> None:
        self._driver = driver
        self._device = driver.ask("cuDeviceGet", index)

    def name(self) -> str:
        text: bytes = self._driver.ask("cuDeviceGetName", NAME_BYTES, self._device)
        return text.split(b"\0")[0].decode()

    def compute_capability(self) -> tuple[int, int]:
        kinds = self._driver._api.CUdevice_attribute
        major = kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
        minor = kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
        return self.get_attribute(major), self.get_attribute(minor)

    def get_attribute(self, which: Any) -> int:
        return int(self._driver.ask("cuDeviceGetAttribute", which, self._device))

    def retain_primary_context(self) -> _Context:
        raw = self._driver.ask("cuDevicePrimaryCtxRetain", self._device)
        return _Context(self._driver, self._device, raw)


class _Context:
    def __init__(self, driver: BindingsDriver, device: Any, raw: Any) -> None:
        self._driver = driver
        self._device = device
        self._raw = raw

    def push(self) -> None:
        self._driver.ask("cuCtxPushCurrent", self._raw)

    def detach(self) -> None:
        self._driver.ask("cuCtxPopCurrent")
        self._driver.ask("cuDevicePrimaryCtxRelease", self._device)


class _Ends:
    """A thing of the driver that ends with this object, as pycuda's do."""

    END = ""

    def __init__(self, driver: BindingsDriver, raw: Any) -> None:
        self._driver = driver
        self._raw = raw

    def __del__(self) -> None:
        # Without its context the driver has ended it already, and says so.
        with suppress(CudaError):
            self._driver.ask(self.END, self._raw)


class _Stream(_Ends):
    END = "cuStreamDestroy"

    @property
    def handle(self) -> int:
        return int(self._raw)

    def synchronize(self) -> None:
        self._driver.ask("cuStreamSynchronize", self._raw)

    def wait_for_event(self, event: _Event) -> None:
        self._driver.ask("cuStreamWaitEvent", self._raw, event._raw, 0)


class _Event(_Ends):
    END = "cuEventDestroy"

    def record(self, stream: _Stream) -> None:
        self._driver.ask("cuEventRecord", self._raw, stream.handle)

    def synchronize(self) -> None:
        self._driver.ask("cuEventSynchronize", self._raw)

    def time_till(self, later: _Event) -> float:
        return float(self._driver.ask("cuEventElapsedTime", self._raw, later._raw))


class _Allocation:
    def __init__(self, driver: BindingsDriver, address: int) -> None:
        self._driver = driver
        self._address = address

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        self._driver.ask("cuMemFree", self._address)


class _Pinned:
    """Page-locked memory, as an array's base."""

    def __init__(
        self, driver: BindingsDriver, count: int, dtype: np.dtype[Any], flags: int
    ) -> None:
        self._driver = driver
        self._address = int(driver.ask("cuMemHostAlloc", max(count * dtype.itemsize, 1), flags))
        self.__array_interface__ = {
            "version": 3,
            "shape": (count,),
            "typestr": dtype.str,
            "data": (self._address, False),
        }

    def get_device_pointer(self) -> int:
        return int(self._driver.ask("cuMemHostGetDevicePointer", self._address, 0))

    def free(self) -> None:
        self._driver.ask("cuMemFreeHost", self._address)
