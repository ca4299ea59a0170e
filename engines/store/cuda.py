"""Describe a GPU by NVIDIA's driver alone, without pycuda or TensorRT."""

from __future__ import annotations

import ctypes
from typing import Any

from edgeapl.engines.store.machine import Device

MAJOR, MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""

NAME_ROOM = 256


def cuda_device(number: int = 0, library: Any = None) -> Device | None:
    """Describe a GPU; None where there is no driver, or no such GPU.

    library : replaces the driver's in tests.
    """
    if library is None:
        try:
            library = ctypes.CDLL("libcuda.so.1")
        except OSError:
            return None
    device, name = ctypes.c_int(), ctypes.create_string_buffer(NAME_ROOM)
    major, minor = ctypes.c_int(), ctypes.c_int()
    done = (
        library.cuInit(0) == 0
        and library.cuDeviceGet(ctypes.byref(device), number) == 0
        and library.cuDeviceGetName(name, NAME_ROOM, device) == 0
        and library.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, device) == 0
        and library.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, device) == 0
    )
    if not done:
        return None
    return Device(name.value.decode("utf-8", "replace"), f"{major.value}.{minor.value}")
