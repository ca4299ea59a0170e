"""How long each layer of a plan takes on the GPU that is here, as the library's profiler says."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import Any

from edgeapl.engines.input_checks import first_line
from edgeapl.engines.trt.library import Library
from edgeapl.engines.trt.local_runtime import runtime_for
from edgeapl.engines.trt.memory import GpuMemory
from edgeapl.engines.trt.plan import StoredPlan
from edgeapl.engines.trt.plan_loader import deserialise, reason
from edgeapl.engines.trt.tensors import layout_of
from edgeapl.errors import EngineError

RUNS = 10
BATCH = 16


def profile_plan(
    plan: StoredPlan, *, driver: Any = None, library: Library | None = None
) -> list[tuple[str, float]]:
    """Return layers, in the order in which they run, with the median of their times in ms.

    One batch of up to 16 rows of zeros is run several times without CUDA graphs, each layer by
    itself: together they take longer than a run at the station.

    Parameters
    ----------
    driver, library : stand-ins for tests.

    Raises EngineError when the plan may not be loaded, or does not run.
    """
    runtime = runtime_for(plan, driver, library)
    memory = GpuMemory(runtime.driver)
    try:
        with memory.active():
            return _profiled(plan.name, plan.data, runtime.library, memory)
    except runtime.driver.Error as error:
        raise EngineError("plan could not be profiled", plan.name, first_line(error)) from error
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
        fits = fits and context.set_input_shape(tensor.name, tensor.shape_of(rows))
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


def _profiler(api: Any, times: dict[str, list[float]]) -> Any:
    class Profiler(api.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            # Without the base's __init__ the library calls an object that is not there.
            api.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times[layer_name].append(float(ms))

    return Profiler()
