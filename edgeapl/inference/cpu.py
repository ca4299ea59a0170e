"""Run the networks of cells one by one, on images of the cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import EngineError
from edgeapl.inference.answer_memo import AnswerMemo, digest_of
from edgeapl.inference.cell_image import CellImage, cut_out, images_of
from edgeapl.inference.executor import Batch, BatchResult, PendingResult
from edgeapl.inference.routing import Outputs, Step, answered
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
    memo : answers to inputs that were seen before; None to run every cell.
    views : of each cell, one after another among the cells that are added.
    """

    fuses = False
    is_starved = False

    def __init__(
        self,
        steps: Sequence[Step],
        engines: Mapping[str, Engine],
        batch_size: int,
        workers: int,
        memo: AnswerMemo | None = None,
        views: int = 1,
    ) -> None:
        self._memo = memo
        self._views = views
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
        for first in range(0, len(self._new), self._views):
            image = CellImage(images, first // self._views)
            for view, cell in enumerate(self._new[first : first + self._views]):
                self._images[cell] = image.seen(view)

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
        cut_s = cut_out(run.given) if isinstance(run.given, list) else 0.0
        if self._memo is None:
            outputs = self._answers(run, range(len(run.batch.cells)))
        else:
            outputs = self._remembered(run, self._memo)
        return BatchResult({run.step.network: outputs}, cut_s)

    def _answers(self, run: _Run, rows: Sequence[int]) -> Outputs:
        """Run the network on some rows of a batch."""
        step, given = run.step, run.given
        if isinstance(given, list):
            images = images_of([given[row] for row in rows])
            outputs = self._engines[step.network].run({step.input: images})
        else:
            part = given if len(rows) == len(given) else given[list(rows)]
            outputs = self._engines[step.network].run({step.input: part})
        return step.checked(outputs, len(rows))

    def _remembered(self, run: _Run, memo: AnswerMemo) -> Outputs:
        """Run the network on the rows that it has not seen; equal rows get one answer."""
        step = run.step
        digests = [
            one.digest if isinstance(one, CellImage) else digest_of(one) for one in run.given
        ]
        known = {digest: memo.find(step.network, digest) for digest in digests}
        fresh = {digest: row for row, digest in enumerate(digests) if known[digest] is None}
        outputs = self._answers(run, list(fresh.values())) if fresh else {}
        for place, digest in enumerate(fresh):
            answer = {name: values[place] for name, values in outputs.items()}
            known[digest] = answer
            if step.is_usable(answer):  # what went wrong once need not do so again
                memo.keep(step.network, digest, answer)
        if len(fresh) == len(digests):
            return outputs
        answers = [answered(known[digest]) for digest in digests]
        return {name: np.stack([one[name] for one in answers]) for name in answers[0]}
