"""From the bytes of a plan to contexts that run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgeapl.engines.trt.device import PlanResources
from edgeapl.engines.trt.kernels import Kernels
from edgeapl.engines.trt.library import Library, starting
from edgeapl.engines.trt.memory import DeviceObject
from edgeapl.engines.trt.scratch import Lent
from edgeapl.errors import EngineError


def deserialise(name: str, plan: bytes, library: Library) -> Any:
    """Return the library's engine of a checked plan. Raises EngineError with the cause.

    For use with the GPU's context on this thread.
    """
    api = library.api
    library.messages.take()
    with starting(library, name):
        runtime = api.Runtime(library.logger)
    _refuse_invalid(api, runtime, name, plan)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError("plan was refused by the library", name, reason(library))
    return engine


def make_context(
    name: str, library: Library, engine: Any, kernels: Kernels, *, fixed: bool, graphs: bool = True
) -> Any:
    """Make a context that runs a plan in memory lent to it by `set_device_memory`.

    Parameters
    ----------
    kernels : those that are compiled here go there.
    fixed : it only ever meets a few shapes, which a warm-up shows it. Kernels are then compiled for
        these and no others, and before they are needed.
    graphs : run as CUDA graphs where the library offers them; only for addresses that stay, for
        each would be captured anew.

    Raises EngineError when the library returns none.
    """
    api = library.api
    strategy = api.ExecutionContextAllocationStrategy.USER_MANAGED
    if offers_graphs(library):
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        if graphs:
            config.cuda_graph_strategy = api.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        if fixed:
            eager = api.DynamicShapesKernelSpecializationStrategy.EAGER
            config.dynamic_shapes_kernel_specialization_strategy = eager
        kernels.attach(config)
        context = engine.create_execution_context(config)
    else:
        context = engine.create_execution_context(strategy)
    if context is None:
        raise EngineError("plan could not be loaded", name, reason(library))
    return context


@dataclass(slots=True, eq=False)
class PlanContext:
    """An execution context that is ready to run.

    parted : its plan could need more memory than there is, so its memory is laid out for each
        shape. graphs : runs as a CUDA graph. lent : the memory.
    """

    context: Any
    parted: bool
    graphs: bool
    lent: Lent = (0, 0)

    def lend(self, lent: Lent) -> None:
        """Lend it memory for the shapes that are set."""
        if self.parted:
            self.context.update_device_memory_size_for_shapes()
        if self.parted or lent != self.lent:
            self.context.set_device_memory(*lent)
            self.lent = lent


def ready_context(
    name: str,
    library: Library,
    engine: Any,
    shared: PlanResources,
    stream: Callable[[], DeviceObject],
    settle: Callable[[PlanContext], None],
    *,
    parted: bool,
) -> PlanContext:
    """Make a context with CUDA graphs, or without where it cannot be captured on its stream.

    stream : returns the stream; called where there may be graphs.
    settle : sets shapes and addresses.
    """
    graphs = offers_graphs(library)
    while True:
        made = make_context(name, library, engine, shared.kernels, fixed=True, graphs=graphs)
        plan_context = PlanContext(made, parted, graphs)
        settle(plan_context)
        if not graphs:
            return plan_context
        with shared.scratch.lease(stream()) as lent:
            plan_context.lend(lent)
            if plan_context.context.is_stream_capturable(stream().raw.handle):
                return plan_context
        graphs = False


def offers_graphs(library: Library) -> bool:
    """Whether the library captures CUDA graphs by itself: TensorRT-RTX from 1.2 on."""
    return hasattr(library.api, "CudaGraphStrategy")


def runtime_text(library: Library, gpu: str, *, graphs: bool) -> str:
    """Return what runs a plan: library, version, GPU, and whether it has CUDA graphs."""
    return f"{library.target} {library.version} {gpu} {'with' if graphs else 'without'} CUDA graphs"


def reason(library: Library) -> str:
    """Return the first error that the library logged."""
    return library.messages.take() or "the library gave no reason"


def _refuse_invalid(api: Any, runtime: Any, name: str, plan: bytes) -> None:
    """Let TensorRT-RTX check by the plan's header whether it fits this machine."""
    if not hasattr(runtime, "get_engine_validity"):
        return
    validity, causes = runtime.get_engine_validity(plan)
    if validity != api.EngineValidity.INVALID:
        return
    known = api.EngineInvalidityDiagnostics.__members__.items()
    names = [key for key, flag in known if int(causes) & int(flag)]
    text = ", ".join(names).replace("_", " ").lower() or "no cause given"
    raise EngineError("plan does not fit this machine", name, text)
