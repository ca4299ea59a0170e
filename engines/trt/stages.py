"""The stages of a chain: what starts on which stream, and which event starts the next.

Everything here is for use inside ``with memory.active():``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.trt.cell_networks import CellNetworks, Shapes
from edgeapl.engines.trt.cutter import Cutter
from edgeapl.engines.trt.engine import TrtEngine
from edgeapl.engines.trt.frames import PLACES, FramePlaces
from edgeapl.engines.trt.kernels import Kernels
from edgeapl.engines.trt.library import Library
from edgeapl.engines.trt.memory import DeviceObject, GpuMemory
from edgeapl.engines.trt.tensors import padded, sizes_of
from edgeapl.protocols import CellsOnFrame, Link
from edgeapl.types import Frame, UInt16

BATCHES = 2
"""Under way at once: one is judged while the next is copied and cut."""


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Room for one batch. cells : address of its cut cells; the rest are events."""

    cells: int
    sent: DeviceObject
    cut: DeviceObject
    judged: DeviceObject
    done: DeviceObject


class Stages:
    """Four streams, and what each needs.

    Parameters
    ----------
    plan : cuts cells. links : the networks, in order. engines : network to its plan.
    kernels : of this process.
    """

    def __init__(
        self,
        plan: bytes,
        links: Sequence[Link],
        engines: Mapping[str, TrtEngine],
        library: Library,
        kernels: Kernels,
        memory: GpuMemory,
    ) -> None:
        self._upload, self._cut, self._judge, self._download = (
            memory.new_stream() for _ in range(4)
        )
        self.cutting = Cutter(
            plan, library, kernels, memory, self._cut, batches=BATCHES, parts=PLACES
        )
        (cells,) = self.cutting.layout.outputs
        self._cell = cells.largest[1:]
        self._batches = [
            _Batch(memory.room(cells.room), *(memory.event() for _ in range(4)))
            for _ in range(BATCHES)
        ]
        addresses = [batch.cells for batch in self._batches]
        self.judging = CellNetworks(links, engines, cells, addresses, library, memory, self._judge)
        self.most_cells = min(self.cutting.most_cells, self.judging.most_cells)
        self.sizes = sizes_of((1, self.most_cells))
        self._frames = FramePlaces(
            memory, self._upload, labelled=self.cutting.labelled, recoloured=self.cutting.recoloured
        )

    def put(self, frame: Frame, labels: UInt16) -> int | None:
        """Start to copy a frame to a place of its own; None when all are taken."""
        number = self._frames.free()
        if number is not None:
            self._frames.fill(number, frame, labels)
        return number

    def drop(self, place: int) -> None:
        """Free a frame's place."""
        self._frames.drop(place)

    def start(self, number: int, cells: Sequence[CellsOnFrame], networks: Sequence[str]) -> Shapes:
        """Put all stages of a batch, by its number, on their streams; return the output shapes."""
        place = number % BATCHES
        batch = self._batches[place]
        self.cutting.send(place, cells, self.sizes, self._upload)
        batch.sent.raw.record(self._upload.raw)
        self._cut.raw.wait_for_event(batch.sent.raw)
        self.cutting.run(place, cells, self.sizes, self._frames, batch.cells)
        batch.cut.raw.record(self._cut.raw)
        for one in cells:
            self._frames.used(one.place, number, batch.cut)
        self._judge.raw.wait_for_event(batch.cut.raw)
        count = sum(len(one.labels) for one in cells)
        rows = padded(count, self.sizes)
        shapes = self.judging.run(place, networks, (count, *self._cell), rows)
        batch.judged.raw.record(self._judge.raw)
        self._download.raw.wait_for_event(batch.judged.raw)
        self.judging.fetch(place, shapes, self._download)
        batch.done.raw.record(self._download.raw)
        return shapes

    def wait(self, number: int) -> None:
        """Wait until a batch is done, and with it all that were started before."""
        self._batches[number % BATCHES].done.raw.synchronize()
        self._frames.batch_is_over(number)

    def read(self, number: int, shapes: Shapes) -> dict[str, dict[str, NDArray[np.generic]]]:
        """Return the answers of a batch that is done."""
        return self.judging.read(number % BATCHES, shapes)

    def release(self) -> None:
        """Release all contexts. All work must be over."""
        self.cutting.release()
        self.judging.release()
