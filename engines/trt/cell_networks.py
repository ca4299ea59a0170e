"""Run the networks of cells one after another, each on what already lies on the GPU."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.trt.engine import TrtEngine
from edgeapl.engines.trt.library import Library
from edgeapl.engines.trt.memory import Buffer, DeviceObject, GpuMemory
from edgeapl.engines.trt.plan_loader import PlanContext, reason
from edgeapl.engines.trt.tensors import Tensor, shape_now
from edgeapl.errors import EngineError
from edgeapl.protocols import Link

Shapes = dict[tuple[str, str], tuple[int, ...]]


class CellNetworks:
    """The networks, with contexts and answers for each batch that may be under way.

    Parameters
    ----------
    links : the networks, each after the one that it takes its input from.
    engines : network to its plan.
    cells : the tensor that the cutting gives; `addresses`, one per batch, where it lies.
    memory : used inside ``with memory.active():`` alone.
    stream : they run on it one after another, so that they can share scratch memory.

    Raises EngineError when a network does not take what it would be given.
    """

    def __init__(
        self,
        links: Sequence[Link],
        engines: Mapping[str, TrtEngine],
        cells: Tensor,
        addresses: Sequence[int],
        library: Library,
        memory: GpuMemory,
        stream: DeviceObject,
    ) -> None:
        self._links = {link.network: link for link in links}
        self._library = library
        self._memory = memory
        self._stream = stream
        self._engines = {link.network: engines[link.network] for link in links}
        for link in links:
            self._check(link, cells)
        self.most_cells = min(engine.layout.batches[1] for engine in self._engines.values())
        # One for all networks of the process: they wait for each other on the GPU.
        self._scratch = next(iter(self._engines.values())).scratch
        self._answers: list[dict[tuple[str, str], Buffer]] = [{} for _ in addresses]
        self._contexts: list[dict[str, PlanContext]] = [{} for _ in addresses]
        for batch, address in enumerate(addresses):
            for link in links:
                self._add(batch, link, address)

    def run(self, batch: int, networks: Sequence[str], cells: tuple[int, ...], rows: int) -> Shapes:
        """Start networks on the batch's cells, of that shape; return the shapes of all answers.

        rows : as many are run on; those behind the cells are whatever lies there.
        """
        shapes: Shapes = {}
        with self._scratch.lease(self._stream) as lent:
            for name in networks:
                link = self._links[name]
                context: Any = self._contexts[batch][name].context
                given = cells if link.after is None else shapes[link.after]
                if not context.set_input_shape(link.input, (rows, *given[1:])):
                    raise EngineError("shape was refused", f"{name}.{link.input}", self._reason())
                for key in self._engines[name].outputs:
                    shapes[name, key] = (cells[0], *shape_now(name, context, key)[1:])
                    self._memory.clear(self._answers[batch][name, key], self._stream)
                self._contexts[batch][name].lend(lent)
                if not context.execute_async_v3(self._stream.raw.handle):
                    raise EngineError("execution was refused", name, self._reason())
        return shapes

    def fetch(self, batch: int, shapes: Shapes, stream: DeviceObject) -> None:
        """Start to copy the answers that are asked for."""
        for name, key in self._wanted(shapes):
            count = math.prod(shapes[name, key])
            self._memory.fetch(self._answers[batch][name, key], count, stream)

    def read(self, batch: int, shapes: Shapes) -> dict[str, dict[str, NDArray[np.generic]]]:
        """Return the answers, which have arrived, as copies: the buffers are written again."""
        found: dict[str, dict[str, NDArray[np.generic]]] = {name: {} for name, _ in shapes}
        for name, key in self._wanted(shapes):
            shape = shapes[name, key]
            host = self._answers[batch][name, key].host[: math.prod(shape)]
            found[name][key] = np.array(host).reshape(shape)
        return found

    def release(self) -> None:
        """Release the contexts, which must not outlive their memory, even if this object does."""
        self._contexts.clear()

    def _wanted(self, shapes: Shapes) -> list[tuple[str, str]]:
        return [(name, key) for name, key in shapes if key in self._links[name].outputs]

    def _add(self, batch: int, link: Link, cells: int) -> None:
        """Make a context of a network, its input and its answers where they stay."""
        engine, answers = self._engines[link.network], self._answers[batch]
        for tensor in engine.layout.outputs:
            buffer = self._memory.buffer(tensor.room, tensor.dtype)
            answers[link.network, tensor.name] = buffer
        (taken,) = engine.layout.inputs
        given = cells if link.after is None else answers[link.after].address

        def settle(plan_context: PlanContext) -> None:
            context: Any = plan_context.context
            fits = context.set_input_shape(link.input, taken.largest)
            fits = fits and context.set_tensor_address(link.input, given)
            for tensor in engine.layout.outputs:
                address = answers[link.network, tensor.name].address
                fits = fits and context.set_tensor_address(tensor.name, address)
            if not fits:
                raise EngineError("plan could not be loaded", link.network, self._reason())

        self._contexts[batch][link.network] = engine.ready(lambda: self._stream, settle)

    def _check(self, link: Link, cells: Tensor) -> None:
        """Raise EngineError unless a network takes exactly what it would be given."""
        name, engine = link.network, self._engines[link.network]
        source = cells
        if link.after is not None:
            before = self._engines[link.after[0]].layout.outputs
            source = next(tensor for tensor in before if tensor.name == link.after[1])
        if len(engine.layout.inputs) != 1:
            text = f"it has {len(engine.layout.inputs)} inputs and must have one"
            raise EngineError("network cannot be chained", name, text)
        (taken,) = engine.layout.inputs
        if not engine.layout.divisible or engine.layout.batches[0] != 1:
            text = "it must take any number of cells from 1 on, and answer each by itself"
            raise EngineError("network cannot be chained", name, text)
        if (taken.dtype, taken.shape[1:]) != (source.dtype, source.largest[1:]):
            text = f"takes {taken.dtype} {taken.shape}, given {source.dtype} {source.shape}"
            raise EngineError("network cannot be chained", f"{name}.{taken.name}", text)

    def _reason(self) -> str:
        return reason(self._library)
