"""Reduce a plan's largest batch until it fits the memory of the GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeapl.engines.trt.device import PlanResources
from edgeapl.engines.trt.library import Library
from edgeapl.engines.trt.memory import GpuMemory
from edgeapl.engines.trt.plan_loader import make_context
from edgeapl.engines.trt.tensors import Layout, layout_of, sizes_of
from edgeapl.errors import EngineError

TAKEN = 3 / 4
"""Of what is free on the GPU, at most, for one network: frames, chains and kernels need room."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a plan is run here.

    layout : its tensors in the largest batch. scratch : bytes that it works in. parted : that is
    less than the plan could take, so the memory must be laid out for each shape.
    """

    layout: Layout
    scratch: int
    parted: bool


def fitted(
    name: str, library: Library, engine: Any, shared: PlanResources, memory: GpuMemory
) -> Fit:
    """Halve the batch until it fits the memory.

    For use inside ``with memory.active():``. Raises EngineError when there is none for any.
    """
    api = library.api
    context: Any = make_context(name, library, engine, shared.kernels, fixed=False, graphs=False)
    whole = layout = layout_of(name, api, engine, context)
    scratch = int(engine.device_memory_size_v2)
    sizes = sizes_of(whole.batches)[:-1] if whole.divisible else ()
    free = memory.unused
    for smaller in (*sizes[::-1], None):
        takes = layout.bytes + max(0, scratch - shared.scratch.size)
        if takes <= free * TAKEN:
            return Fit(layout, scratch, parted=layout is not whole)
        if smaller is not None:
            layout = layout_of(name, api, engine, context, smaller)
            scratch = int(context.update_device_memory_size_for_shapes())
    text = f"{takes >> 20} MiB in the smallest batch, {free >> 20} MiB are free"
    mend = "end other programs on the GPU, or build with a smaller --max-batch"
    raise EngineError("GPU memory is short", name, f"{text}: {mend}")
