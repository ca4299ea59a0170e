"""Cut a batch of cells out of frames on the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeapl.engines.trt.frames import FramePlace, FramePlaces
from edgeapl.engines.trt.kernels import Kernels
from edgeapl.engines.trt.library import Library
from edgeapl.engines.trt.memory import DeviceObject, GpuMemory
from edgeapl.engines.trt.plan_loader import deserialise, make_context, reason
from edgeapl.engines.trt.tensors import Layout, layout_of, padded
from edgeapl.errors import EngineError
from edgeapl.protocols import CellsOnFrame
from edgeapl.types import Int32

NAME = "crop"
"""What messages call the plan."""

STEP = 32
"""The longest side of a batch's cuts is rounded up to this: shapes that a plan meets for the first
time cost it time, and lines beyond a cut count for nothing."""

ALIGNED = 64
"""Rows of `places` between two frames of a batch: TensorRT takes addresses that are multiples of
256 bytes, and 64 labels of 4 bytes are."""


class Cutter:
    """The plan that cuts, with a context for each batch that may be under way.

    Parameters
    ----------
    kernels : of this process. memory : used inside ``with memory.active():`` alone.
    stream : everything here runs on it.
    batches : how many may be under way. parts : frames of one batch, at most.
    """

    def __init__(
        self,
        plan: bytes,
        library: Library,
        kernels: Kernels,
        memory: GpuMemory,
        stream: DeviceObject,
        *,
        batches: int,
        parts: int,
    ) -> None:
        self._library = library
        self._memory = memory
        self._stream = stream
        engine: Any = deserialise(NAME, plan, library)
        # Each frame lies elsewhere, so a captured graph would never be met again.
        self._contexts = [
            make_context(NAME, library, engine, kernels, fixed=False, graphs=False)
            for _ in range(batches)
        ]
        self._layout = layout_of(NAME, library.api, engine, self._contexts[0])
        size = int(engine.device_memory_size_v2)
        scratch = memory.room(size)
        for each in self._contexts:
            context: Any = each
            context.set_device_memory(scratch, size)
        largest = {tensor.name: tensor.largest[0] for tensor in self._layout.inputs}
        self.most_cells, self.reach = largest["places"], largest["steps"]
        self.most_pixels = largest["frame"]
        self.labelled = "labels" in largest
        self.recoloured = "colours" in largest
        self.turning = "views" in largest
        if self.most_cells > ALIGNED:
            text = f"{self.most_cells} cells in one run: build it with at most {ALIGNED}"
            raise EngineError("plan does not fit its chain", NAME, text)
        rows = ALIGNED * parts
        self._places = [memory.buffer(rows * 4, "int32") for _ in range(batches)]
        self._labels = [memory.buffer(rows, "int32") for _ in range(batches)]
        turned = batches if self.turning else 0
        self._views = [memory.buffer(rows * 3, "int32") for _ in range(turned)]
        self._spare = memory.room(self._layout.outputs[0].room)
        self._steps = memory.buffer(self.reach, "int32")
        memory.send(self._steps, np.arange(self.reach, dtype=np.int32), stream)

    @property
    def layout(self) -> Layout:
        """The plan's tensors; its output is uint8 (N, size, size, 3)."""
        return self._layout

    @property
    def cell_bytes(self) -> int:
        """Bytes of one cell."""
        return self._layout.outputs[0].room // self._layout.outputs[0].largest[0]

    def send(
        self, batch: int, cells: Sequence[CellsOnFrame], sizes: Sequence[int], stream: DeviceObject
    ) -> None:
        """Start to copy where the cells of a batch lie, behind the frames on the same stream.

        sizes : each frame's cells are padded to the next of these, with its last cell.
        """
        counts = [padded(len(one.labels), sizes) for one in cells]
        rows = ALIGNED * (len(cells) - 1) + counts[-1]
        places, labels = np.zeros((rows, 4), np.int32), np.zeros(rows, np.int32)
        views = np.zeros((rows, 3), np.int32)
        for part, (one, count) in enumerate(zip(cells, counts, strict=True)):
            mine = slice(ALIGNED * part, ALIGNED * part + count)
            more = (0, count - len(one.labels))
            places[mine] = np.pad(one.squares, (more, (0, 0)), "edge")
            labels[mine] = np.pad(one.labels, more, "edge")
            views[mine] = np.pad(self._flags(one), (more, (0, 0)), "edge")
        self._memory.send(self._places[batch], places, stream)
        if self.labelled:
            self._memory.send(self._labels[batch], labels, stream)
        if self.turning:
            self._memory.send(self._views[batch], views, stream)

    def _flags(self, cells: CellsOnFrame) -> Int32:
        """Return how cells are turned; raises EngineError where the plan cannot, or must."""
        if (cells.views is not None) != self.turning:
            text = "it was built for other settings of the bundle: build the engines again"
            raise EngineError("plan does not turn cells as the bundle asks", NAME, text)
        return np.zeros((len(cells.labels), 3), np.int32) if cells.views is None else cells.views

    def run(
        self,
        batch: int,
        cells: Sequence[CellsOnFrame],
        sizes: Sequence[int],
        frames: FramePlaces,
        to: int,
    ) -> None:
        """Start to cut the cells of a batch, padded as `send` did, one behind the other."""
        row = 0
        for part, one in enumerate(cells):
            place = frames[one.place]
            # Only the first part begins at an address that TensorRT takes.
            made = self._spare if part else to
            count = padded(len(one.labels), sizes)
            self._cut(batch, part, place, one.squares, count, made)
            if part:
                size = self.cell_bytes
                self._memory.move(to + row * size, made, len(one.labels) * size, self._stream)
            row += len(one.labels)

    def release(self) -> None:
        """Release the contexts, which must not outlive their memory, even if this object does."""
        self._contexts.clear()

    def _cut(
        self, batch: int, part: int, place: FramePlace, squares: Int32, count: int, to: int
    ) -> None:
        context: Any = self._contexts[batch]
        first = ALIGNED * part
        reach = min(self.reach, -(-int(squares[:, 2:].max()) // STEP) * STEP)
        assert place.pixels is not None
        given = {
            "frame": (place.pixels.address, (place.count, 3)),
            "extent": (place.extent.address, (2,)),
            "places": (self._places[batch].address + first * 16, (count, 4)),
            "steps": (self._steps.address, (reach,)),
        }
        if self.recoloured:
            assert place.colours is not None
            given["colours"] = (place.colours.address, (2, 3))
        if self.turning:
            given["views"] = (self._views[batch].address + first * 12, (count, 3))
        if self.labelled:
            assert place.labels is not None
            given["labels"] = (place.labels.address, (place.count, 2))
            given["numbers"] = (self._labels[batch].address + first * 4, (count,))
        done = all(
            context.set_input_shape(key, shape) and context.set_tensor_address(key, address)
            for key, (address, shape) in given.items()
        )
        done = done and context.set_tensor_address(self._layout.outputs[0].name, to)
        if not done or not context.execute_async_v3(self._stream.raw.handle):
            raise EngineError("execution was refused", NAME, reason(self._library))
