"""Run the networks of cells on a device that cuts the cells itself.

Frames are copied to the device as they come, and their cells stay part of them. All networks that
a cell can be shown to are run in one batch; their answers may send it on to others, and then its
frame is still there. While one batch runs, the next is put together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from edgeapl.errors import DeadlineError, EngineError
from edgeapl.inference.executor import Batch, BatchResult, PendingResult
from edgeapl.inference.routing import Step
from edgeapl.protocols import CellChain, CellsOnFrame
from edgeapl.stages.crop import CellImages, UncutCells
from edgeapl.stages.views import flags_of
from edgeapl.types import Int64, UInt8


@dataclass(slots=True, eq=False)
class _Frame:
    """A frame with cells that have no answer.

    cells : its cells, uncut. rows : number of a cell to its row there, of a view of it to its place
        among all views.
    place : on the device; None while it waits for one.
    """

    cells: UncutCells
    rows: dict[int, int]
    place: int | None = None


class DeviceExecutor:
    """Implements Executor with a chain of networks on a device.

    It accepts cells that are part of their frame, as far as the chain takes such a frame.

    Parameters
    ----------
    steps : the networks of cells.
    chain : of all of them, as `edgeapl.inference.routing.chain_links` says.
    batch_size : cells in one batch; the chain may take fewer.
    views : of each cell, one after another among the cells that are added.
    """

    fuses = True
    is_saturated = False
    held_bytes = 0

    def __init__(
        self, steps: Sequence[Step], chain: CellChain, batch_size: int, views: int = 1
    ) -> None:
        self._views = views
        self.batch_size = min(batch_size, chain.most_cells)
        self._steps = {step.network: step for step in steps}
        self._chain = chain
        self._frames: deque[_Frame] = deque()
        self._frame_of: dict[int, _Frame] = {}
        self._running: deque[Batch] = deque()

    @property
    def is_running(self) -> bool:
        """Whether a batch was started that `finished` has not returned."""
        return bool(self._running)

    @property
    def has_room(self) -> bool:
        """Whether the chain takes another batch."""
        return len(self._running) < self._chain.most_batches

    @property
    def is_starved(self) -> bool:
        """Whether a frame waits for a place: no more cells can come that would fill a batch."""
        return any(frame.place is None for frame in self._frames)

    def accepts(self, images: CellImages | Sequence[UInt8]) -> bool:
        """Accept cells on a frame that the device has room for."""
        if not isinstance(images, UncutCells):
            return False
        frame, widest = images.detections.frame, int(images.squares[:, 2:].max(initial=0))
        fits = frame.height * frame.width <= self._chain.most_pixels
        return fits and widest <= self._chain.widest_cut

    def add(self, cells: Int64, images: CellImages | Sequence[UInt8]) -> None:
        """Add the cells of a frame, which waits for a place on the device."""
        assert isinstance(images, UncutCells)
        frame = _Frame(images, {cell: row for row, cell in enumerate(cells.tolist())})
        if frame.rows:
            self._frames.append(frame)
            self._frame_of.update(dict.fromkeys(frame.rows, frame))

    def admit(self) -> Iterator[tuple[Sequence[int], EngineError | None]]:
        """Copy waiting frames to the device while it has places, and yield their cells."""
        for frame in [frame for frame in self._frames if frame.place is None]:
            detections = frame.cells.detections
            try:
                frame.place = self._chain.put(detections.frame, detections.labels)
            except EngineError as error:
                yield sorted(frame.rows), error
                continue
            if frame.place is None:
                return
            yield list(frame.rows), None

    def discard(self, cell: int) -> None:
        """Forget a cell; the place of its frame is free after the last."""
        frame = self._frame_of.pop(cell, None)
        if frame is None:
            return
        del frame.rows[cell]
        if not frame.rows:
            self._frames.remove(frame)
            if frame.place is not None:
                self._chain.drop(frame.place)

    def start(self, batch: Batch) -> None:
        """Start a batch through its networks."""
        by_place: dict[int, list[int]] = {}
        for cell in batch.cells:
            place = self._frame_of[cell].place
            assert place is not None
            by_place.setdefault(place, []).append(cell)
        given = [self._on_frame(place, cells) for place, cells in by_place.items()]
        self._chain.start(given, batch.networks)
        # Its rows come frame by frame.
        rows = [cell for cells in by_place.values() for cell in cells]
        self._running.append(replace(batch, cells=rows))

    def wait_s(self, *, flush: bool, idle: bool) -> float | None:
        """Wait for a batch only when nothing else can be done."""
        return None if flush or not self.has_room else 0.0

    def finished(self, wait_s: float | None) -> Sequence[tuple[Batch, PendingResult]]:
        """Return the oldest batch, whose result is waited for; none if `wait_s` is 0."""
        if wait_s == 0 or not self._running:
            return []
        batch = self._running.popleft()
        return [(batch, partial(self._finish, batch))]

    def close(self) -> None:
        """Wait for all batches, so that no later caller gets their results, and free all places."""
        while self._running:
            self._running.popleft()
            with suppress(EngineError, DeadlineError):
                self._chain.finish()
        for frame in self._frames:
            if frame.place is not None:
                self._chain.drop(frame.place)
        self._frames.clear()

    def _on_frame(self, place: int, cells: Sequence[int]) -> CellsOnFrame:
        frame = self._frame_of[cells[0]]
        rows, views = np.divmod([frame.rows[cell] for cell in cells], self._views)
        labels = (frame.cells.rows[rows] + 1).astype(np.int32)
        turned = flags_of(views) if self._views > 1 else None
        return CellsOnFrame(place, frame.cells.squares[rows], labels, turned)

    def _finish(self, batch: Batch) -> BatchResult:
        outputs = self._chain.finish()
        count = len(batch.cells)
        return BatchResult(
            {name: self._steps[name].checked(outputs[name], count) for name in batch.networks}
        )
