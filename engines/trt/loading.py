"""From the bytes of a plan to contexts that run it."""

from __future__ import annotations

from typing import Any

from edgeapl.engines.trt.library import Library, starting
from edgeapl.errors import EngineError


def deserialise(name: str, plan: bytes, library: Library) -> Any:
    """Give the library's engine; the plan was checked before. Raises EngineError with the cause.

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
    name: str, library: Library, engine: Any, *, graphs: bool = True, lent: bool = False
) -> Any:
    """Make a context that runs a plan, with CUDA graphs where the library offers them.

    Parameters
    ----------
    graphs : False where the addresses change from run to run: each would be captured anew.
    lent : its scratch memory is given by `set_device_memory`, so that contexts which never run
        at the same time can share it.

    Raises EngineError when the library gives none.
    """
    api = library.api
    if graphs and offers_graphs(library):
        config = engine.create_runtime_config()
        config.cuda_graph_strategy = api.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        if lent:
            strategy = api.ExecutionContextAllocationStrategy.USER_MANAGED
            config.set_execution_context_allocation_strategy(strategy)
        context = engine.create_execution_context(config)
    elif lent:
        strategy = api.ExecutionContextAllocationStrategy.USER_MANAGED
        context = engine.create_execution_context(strategy)
    else:
        context = engine.create_execution_context()
    if context is None:
        raise EngineError("plan could not be loaded", name, reason(library))
    return context


def offers_graphs(library: Library) -> bool:
    """Whether the library captures CUDA graphs by itself: TensorRT-RTX from 1.2 on."""
    return hasattr(library.api, "CudaGraphStrategy")


def runtime_text(library: Library, gpu: str) -> str:
    """Say what runs a plan: library, version, GPU, and whether it has CUDA graphs."""
    graphs = "with" if offers_graphs(library) else "without"
    return f"{library.target} {library.version} {gpu} {graphs} CUDA graphs"


def reason(library: Library) -> str:
    """Give the first error that the library logged."""
    return library.messages.take() or "the library gave no reason"


def _refuse_invalid(api: Any, runtime: Any, name: str, plan: bytes) -> None:
    """Ask TensorRT-RTX, which can tell from the plan's header, whether it fits this machine."""
    if not hasattr(runtime, "get_engine_validity"):
        return
    validity, causes = runtime.get_engine_validity(plan)
    if validity != api.EngineValidity.INVALID:
        return
    known = api.EngineInvalidityDiagnostics.__members__.items()
    names = [key for key, flag in known if int(causes) & int(flag)]
    text = ", ".join(names).replace("_", " ").lower() or "no cause given"
    raise EngineError("plan does not fit this machine", name, text)
