"""How long each layer of a plan takes on the GPU that is here, as the library's profiler says."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import Any

from edgeapl.engines.input_checks import first_line
from edgeapl.engines.trt.driver import load_driver, on_gpu
from edgeapl.engines.trt.engine import place_here
from edgeapl.engines.trt.library import Library, find_library
from edgeapl.engines.trt.memory import GpuMemory
from edgeapl.engines.trt.plan import PlanRecord, check_plan
from edgeapl.engines.trt.plan_loader import deserialise, reason
from edgeapl.engines.trt.tensors import Tensor, layout_of
from edgeapl.errors import EngineError

RUNS = 10
BATCH = 16


def profile_plan(
    target: str,
    name: str,
    plan: bytes,
    built: PlanRecord,
    *,
    machine: str,
    device: int = 0,
    driver: Any = None,
    library: Library | None = None,
) -> list[tuple[str, float]]:
    """Give layers, in the order in which they run, with the median of their times in ms.

    Parameters
    ----------
    target, name, plan, built, machine, driver, library : as for
        `edgeapl.engines.trt.engine.open_plan`. device : number of the GPU.

    One batch of up to 16 rows of zeros is run several times without CUDA graphs, each layer by
    itself: together they take longer than a run at the station. Raises EngineError when the plan
    may not be loaded, or does not run.
    """
    library = library or find_library(target)
    driver = on_gpu(driver or load_driver(), device)
    check_plan(name, plan, built, place_here(target, machine, driver, library))
    memory = GpuMemory(driver)
    try:
        with memory.active():
            return _profiled(name, plan, library, memory)
    except driver.Error as error:
        raise EngineError("plan could not be profiled", name, first_line(error)) from error
    finally:
        memory.close()


def _profiled(
    name: str, plan: bytes, library: Library, memory: GpuMemory
) -> list[tuple[str, float]]:
    engine: Any = deserialise(name, plan, library)
    context: Any = engine.create_execution_context()
    if context is None:
        raise EngineError("plan could not be loaded", name, reason(library))
    layout = layout_of(name, library.api, engine, context)
    rows = min(BATCH, layout.batches[1])
    times: dict[str, list[float]] = defaultdict(list)
    fits = True
    for tensor in (*layout.inputs, *layout.outputs):
        buffer = memory.buffer(tensor.room, tensor.dtype)
        memory.clear(buffer)
        fits = fits and context.set_tensor_address(tensor.name, buffer.address)
    for tensor in layout.inputs:
        fits = fits and context.set_input_shape(tensor.name, _shape(tensor, rows))
    # One that does not count: what a plan meets for the first time is slow.
    fits = fits and context.execute_async_v3(memory.stream.raw.handle)
    memory.wait()
    context.profiler = _profiler(library.api, times)
    for _ in range(RUNS):
        fits = fits and context.execute_async_v3(memory.stream.raw.handle)
        memory.wait()
    logged = library.messages.take()
    if logged or not fits:
        raise EngineError("plan could not be profiled", name, logged or "a run was refused")
    del context, engine
    return [(layer, median(found)) for layer, found in times.items()]


def _shape(tensor: Tensor, rows: int) -> tuple[int, ...]:
    return (rows, *tensor.shape[1:]) if tensor.free else tensor.shape


def _profiler(api: Any, times: dict[str, list[float]]) -> Any:
    class Profiler(api.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            # Without the base's __init__ the library calls an object that is not there.
            api.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times[layer_name].append(float(ms))

    return Profiler()
