"""What all plans of a process share on a GPU."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from edgeapl.engines.trt.driver import describe_gpu
from edgeapl.engines.trt.kernels import Kernels, kernels_file
from edgeapl.engines.trt.library import Library
from edgeapl.engines.trt.scratch import Scratch


@dataclass(frozen=True, slots=True, eq=False)
class PlanResources:
    """Scratch memory, and compiled kernels."""

    scratch: Scratch
    kernels: Kernels


def plan_resources(driver: Any, library: Library) -> PlanResources:
    """Return what plans of a library share on the GPU of a driver; the same at every call."""
    return _shared(driver, library.target, library.version)


@functools.cache
def _shared(driver: Any, target: str, version: str) -> PlanResources:
    gpu = describe_gpu(driver)
    file = kernels_file(target, version, gpu.name, gpu.compute_capability, gpu.driver)
    return PlanResources(Scratch(driver), Kernels(file))
