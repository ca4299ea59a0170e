"""What may run a plan on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeapl.engines.trt.driver import describe_gpu, load_driver, on_gpu
from edgeapl.engines.trt.library import Library, find_library
from edgeapl.engines.trt.plan import Place, StoredPlan, check_plan


@dataclass(frozen=True, slots=True, eq=False)
class LocalRuntime:
    """What runs plans here: TensorRT, and the driver of one GPU."""

    library: Library
    driver: Any


def runtime_for(
    plan: StoredPlan, driver: Any = None, library: Library | None = None
) -> LocalRuntime:
    """Check a plan against its record and this machine, and return what may run it.

    Parameters
    ----------
    driver, library : stand-ins for tests.

    Raises EngineError when the plan may not be loaded here.
    """
    library = library or find_library(plan.target)
    driver = on_gpu(driver or load_driver(), plan.device)
    here = place_here(plan.target, plan.machine, driver, library)
    check_plan(plan.name, plan.data, plan.record, here)
    return LocalRuntime(library, driver)


def place_here(
    target: str, machine: str, driver: Any = None, library: Library | None = None
) -> Place:
    """Describe this machine as a place for plans; raises EngineError without library or GPU."""
    library = library or find_library(target)
    gpu = describe_gpu(driver or load_driver())
    return Place(target, library.version, gpu.name, gpu.compute_capability, machine)
