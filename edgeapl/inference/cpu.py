"""Run the networks of cells one by one, on images of the cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import EngineError
from edgeapl.inference.cell_image import CellImage, images_of
from edgeapl.inference.executor import Batch, BatchResult, PendingResult
from edgeapl.inference.routing import Step, answered
from edgeapl.inference.workers import CallingThread, WorkerThreads
from edgeapl.protocols import Engine
from edgeapl.stages.crop import CellImages
from edgeapl.types import Int64, UInt8

IDLE_WAIT_S = 0.01
"""How long a step waits for a run while another thread has nothing to do: a frame may come."""


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A batch and what its network is given: its input, or the cells whose images are that."""

    batch: Batch
    step: Step
    given: NDArray[np.generic] | list[CellImage]


class CpuExecutor:
    """Implements Executor with the engines, in this thread or in threads of its own.

    An engine may compute on a GPU all the same: here the processor cuts the cells and hands every
    network its batch.

    Parameters
    ----------
    steps : the networks of cells. engines : network name to engine.
    batch_size : cells in one run of a network, 1 or more.
    workers : runs at the same time; more than one take threads of their own, until `close`.
    """

    fuses = False
    is_starved = False

    def __init__(
        self, steps: Sequence[Step], engines: Mapping[str, Engine], batch_size: int, workers: int
    ) -> None:
        self.batch_size = batch_size
        self._steps = {step.network: step for step in steps}
        self._engines = engines
        self._images: dict[int, CellImage] = {}
        self._new: list[int] = []
        self._workers: CallingThread[_Run, BatchResult] | WorkerThreads[_Run, BatchResult]
        if workers > 1:
            self._workers = WorkerThreads(self._run, workers)
        else:
            self._workers = CallingThread(self._run)

    @property
    def held_bytes(self) -> int:
        """Memory of the cells that were cut out of their frames."""
        return sum(image.nbytes for image in self._images.values())

    @property
    def is_running(self) -> bool:
        """Whether a run was started that `finished` has not returned."""
        return bool(self._workers)

    @property
    def has_room(self) -> bool:
        """Whether another run may be started."""
        return not self._workers.full

    @property
    def is_saturated(self) -> bool:
        """Whether every thread has a run."""
        return self._workers.all_busy

    def accepts(self, images: CellImages | Sequence[UInt8]) -> bool:
        """Accept every cell."""
        return True

    def add(self, cells: Int64, images: CellImages | Sequence[UInt8]) -> None:
        """Add cells; see `Executor.add`. They are cut when a network is about to see them."""
        self._new = cells.tolist()
        self._images.update((cell, CellImage(images, row)) for row, cell in enumerate(self._new))

    def admit(self) -> Iterable[tuple[Sequence[int], EngineError | None]]:
        """Admit all cells at once."""
        new, self._new = self._new, []
        return [(new, None)] if new else []

    def discard(self, cell: int) -> None:
        """Forget the image of a cell."""
        self._images.pop(cell, None)

    def start(self, batch: Batch) -> None:
        """Start a run of one network."""
        (network,) = batch.networks
        step = self._steps[network]
        given: NDArray[np.generic] | list[CellImage]
        if step.after is None:
            given = [self._images[cell] for cell in batch.cells]
        else:
            before, output = step.after
            answers = [answered(batch.answers[cell][before]) for cell in batch.cells]
            given = np.stack([answer[output] for answer in answers])
        self._workers.start(_Run(batch, step, given))

    def wait_s(self, *, flush: bool, idle: bool) -> float | None:
        """Wait for the first run to end; for a moment only while a thread has nothing to do."""
        return IDLE_WAIT_S if idle else None

    def finished(self, wait_s: float | None) -> Sequence[tuple[Batch, PendingResult]]:
        """Return the runs that have ended; see `Executor.finished`."""
        return [(run.batch, result) for run, result in self._workers.ended(wait_s)]

    def close(self) -> None:
        """Wait for the runs under way, and end the threads."""
        self._workers.close()

    def _run(self, run: _Run) -> BatchResult:
        """Cut the cells that are not cut yet, and run the network; raises EngineError."""
        given, cut_s = run.given, 0.0
        if isinstance(given, list):
            given, cut_s = images_of(given)
        outputs = self._engines[run.step.network].run({run.step.input: given})
        checked = run.step.checked(outputs, len(run.batch.cells))
        return BatchResult({run.step.network: checked}, cut_s)
