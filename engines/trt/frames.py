"""Places for frames on the GPU: each is copied there once, while others are being cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.trt.memory import Buffer, DeviceObject, GpuMemory
from edgeapl.errors import EngineError
from edgeapl.types import Frame, UInt16

PLACES = 3
"""One frame is cut, the next is on its way, and the last cells of the one before still wait for
their networks."""


@dataclass(slots=True, eq=False)
class FramePlace:
    """Room for one frame; its buffers grow with the largest that came.

    uploaded : event, reached when the frame is there.
    busy : event, after which nothing that was started uses the place; None when nothing does.
    last_batch : number of the last batch that cuts from it.
    colours : room for mean and deviation of its own, where they are moved.
    """

    extent: Buffer
    uploaded: DeviceObject
    colours: Buffer | None = None
    pixels: Buffer | None = None
    labels: Buffer | None = None
    taken: bool = False
    count: int = 0
    busy: DeviceObject | None = None
    last_batch: int = -1


class FramePlaces:
    """The places, and the stream that fills them.

    Parameters
    ----------
    memory : used inside ``with memory.active():`` alone.
    stream : copies to the GPU.
    labelled : the label image is needed too. recoloured : so are the frame's colours.
    """

    def __init__(
        self, memory: GpuMemory, stream: DeviceObject, *, labelled: bool, recoloured: bool
    ) -> None:
        self._memory = memory
        self._stream = stream
        self._labelled = labelled
        self._places = [
            FramePlace(
                memory.buffer(2, "int32"),
                memory.event(),
                memory.buffer(6, "float32") if recoloured else None,
            )
            for _ in range(PLACES)
        ]

    def __getitem__(self, number: int) -> FramePlace:
        """Return a place by its number."""
        return self._places[number]

    def free(self) -> int | None:
        """Find a place that nobody has taken, and that is in use no more if there is one."""
        numbers = [number for number, place in enumerate(self._places) if not place.taken]
        return min(numbers, key=self._rest, default=None)

    def fill(self, number: int, frame: Frame, labels: UInt16) -> None:
        """Start to copy a frame to its place; waits only for what still uses the place."""
        place = self._places[number]
        if (place.colours is None) != (frame.colours is None):
            text = "it was built for other settings of the bundle: build the engines again"
            raise EngineError("plan does not move colours as the bundle asks", "crop", text)
        if place.busy is not None:
            place.busy.raw.synchronize()
        place.taken = True
        place.count = frame.height * frame.width
        place.pixels = self._send(place.pixels, frame.pixels)
        if self._labelled:
            # As the plan reads them: row by row, low byte first.
            in_order = np.ascontiguousarray(labels, dtype="<u2")
            place.labels = self._send(place.labels, in_order.view(np.uint8))
        extent = np.array([frame.height, frame.width], np.int32)
        self._memory.send(place.extent, extent, self._stream)
        if place.colours is not None and frame.colours is not None:
            self._memory.send(place.colours, frame.colours.rows, self._stream)
        place.uploaded.raw.record(self._stream.raw)
        place.busy = place.uploaded
        place.last_batch = -1

    def used(self, number: int, batch: int, until: DeviceObject) -> None:
        """Note that a batch, by its number, cuts from a place until an event is reached."""
        place = self._places[number]
        place.busy, place.last_batch = until, batch

    def batch_is_over(self, batch: int) -> None:
        """Note that a batch and all before it are done."""
        for place in self._places:
            if 0 <= place.last_batch <= batch:
                place.busy = None

    def drop(self, number: int) -> None:
        """Free a place."""
        self._places[number].taken = False

    def _rest(self, number: int) -> tuple[bool, int]:
        place = self._places[number]
        return place.busy is not None, place.last_batch

    def _send(self, buffer: Buffer | None, values: NDArray[np.uint8]) -> Buffer:
        if buffer is None or buffer.host.size < values.size:
            if buffer is not None:
                self._memory.give_back(buffer)
            # Cells overlap, and each pixel of a cell is looked at several times.
            buffer = self._memory.buffer(values.size, "uint8", read_once=False)
        self._memory.send(buffer, values, self._stream)
        return buffer
