"""Route cells to networks and fill batches.

Cells are added one frame after another and wait in front of each network that has to see them. A
network runs as soon as a batch is full, whichever frames its cells come from. Where a batch runs,
on a processor or on a device that cuts the cells itself, is the executor's business.

Where a bundle shows every cell in several views, what is routed, queued and run is a view: eight
views fill a batch as eight cells do. Only whoever adds and takes cells knows these alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from edgeapl.bundle.manifest import Manifest
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.inference.batch_queues import BatchQueues, Policy
from edgeapl.inference.cell_views import CellViews
from edgeapl.inference.executor import Batch, Executor, Networks, PendingResult
from edgeapl.inference.result import InferenceResult, result_of
from edgeapl.inference.routing import Answer, Outputs, Route, Step
from edgeapl.logs import warn
from edgeapl.stages.crop import CellImages
from edgeapl.types import Int64, UInt8

FEWEST_RETURNED = 16
"""Cells that are returned together where nobody waits for the first: adding up cells one by one
takes processor time from the networks."""


@dataclass(slots=True, eq=False)
class _Cell:
    """A view of a cell without all its answers.

    queues : of the executor that holds its image.
    asked : networks whose queue it was put in.
    answers : network to its answer; None where the cell is not shown to it.
    """

    queues: BatchQueues
    asked: set[str] = field(default_factory=set)
    answers: dict[str, Answer | None] = field(default_factory=dict)


class Scheduler:
    """Takes cells in, and returns them when all their networks have answered.

    Parameters
    ----------
    manifest : names roles and the feature output.
    steps : the networks of cells, `edgeapl.inference.routing.steps`.
    executors : the first that accepts a cell runs it.
    keep_pace : run the network that most cells wait for, so that the first cells are done long
        before the last. Without it a network runs on while it has batches, and all cells together
        are done sooner.
    """

    def __init__(
        self,
        manifest: Manifest,
        steps: Sequence[Step],
        executors: Sequence[Executor],
        *,
        keep_pace: bool = True,
    ) -> None:
        self._manifest = manifest
        self._views = CellViews(manifest.crop.views)
        self._steps = tuple(steps)
        self._by_name = {step.network: step for step in self._steps}
        self._policy = Policy.FULLEST if keep_pace else Policy.SAME
        self._all_queues = [BatchQueues(executor, self._steps) for executor in executors]
        self._cells: dict[int, _Cell] = {}
        self._done: dict[int, Mapping[str, Answer | None]] = {}
        self._failed: list[int] = []
        self._errors: list[tuple[EngineError, Sequence[int]]] = []
        self._cut_s = 0.0
        self._nothing = result_of(manifest, np.empty(0, dtype=np.int64), [])

    def enter(self, ids: Int64, images: CellImages | Sequence[UInt8]) -> None:
        """Add cells.

        Parameters
        ----------
        ids : int64 (N,), numbers of the cells, none twice.
        images : uint8 (N, size, size, 3) RGB, or where they are to be cut.
        """
        queues = next(q for q in self._all_queues if q.executor.accepts(images))
        views = self._views.of(ids)
        queues.executor.add(views, images)
        self._cells.update((view, _Cell(queues)) for view in views.tolist())
        self._admit(queues)

    @property
    def held_bytes(self) -> int:
        """Memory of the images of cells without all their answers, in addition to their frames."""
        return sum(queues.executor.held_bytes for queues in self._all_queues)

    @property
    def held(self) -> frozenset[int]:
        """Numbers of the cells that were added, and neither returned nor given up."""
        views = (*self._cells, *self._done)
        return frozenset(self._views.cells(views)) | frozenset(self._failed)

    def ready(self, *, flush: bool) -> bool:
        """Whether `step` has something to do at once.

        That is so when a batch is full, with `flush` when any cell waits, and when no batch can be
        added before one ends.
        """
        return any(
            queues.executor.is_saturated or queues.has_batch(flush=flush)
            for queues in self._all_queues
        )

    def step(self, *, flush: bool) -> InferenceResult:
        """Start the batches that are ready, wait for one to end, and return the cells now done.

        None may be done: the network may have sent them on to others, a device is not waited for
        while it has room for another batch, and without `keep_pace` cells are returned once there
        are `FEWEST_RETURNED`, or when no run is left.

        Parameters
        ----------
        flush : run batches that are not full.

        Raises DeadlineError when a run was cancelled; its cells then wait again, and `collect`
        returns what the other runs answered.
        """
        idle = not self.ready(flush=flush)
        for queues in self._all_queues:
            self._start_ready(queues, self._policy, flush=flush)
            wait_s = queues.executor.wait_s(flush=flush, idle=idle)
            if self._take_finished(queues, wait_s):
                break
        more = any(q.executor.is_running or q.has_batch(flush=flush) for q in self._all_queues)
        few = len(self._done) < FEWEST_RETURNED * self._views.count
        if more and self._policy is Policy.SAME and few:
            return self._nothing
        return self._returned()

    def run(self, *, flush: bool) -> InferenceResult:
        """Run all full batches to their end, with `flush` all cells; return the cells now done.

        A run that fails, or returns outputs of another name or shape than the bundle says, costs
        its cells and is among the errors. Raises DeadlineError as `step` does.
        """
        for queues in self._all_queues:
            policy = self._policy if queues.executor.fuses else Policy.FIRST
            while queues.executor.is_running or queues.has_batch(flush=flush):
                self._start_ready(queues, policy, flush=flush)
                self._take_finished(queues, None)
        return self._returned()

    def run_network(self, network: str) -> None:
        """Run one network on all cells that wait for it.

        For callers with one network in memory at a time, who run them in the order of
        `edgeapl.inference.routing.steps`; `run` then returns the cells.
        """
        for queues in self._all_queues:
            while queues.has_cells((network,)):
                self._start(queues, (network,))
                self._take_finished(queues, None)

    def collect(self) -> InferenceResult:
        """Return the cells now done, without starting or awaiting anything."""
        for queues in self._all_queues:
            with suppress(DeadlineError):  # those cells wait again
                self._take_finished(queues, 0.0)
        return self._returned()

    def give_up(self, ids: Int64) -> Int64:
        """Remove cells, wherever they are; return the numbers, int64, of those that were held.

        Answers that were not returned yet are dropped too: `collect` them before.
        """
        held = self.held
        removed = [cell for cell in ids.tolist() if cell in held]
        for view in self._views.of(np.array(removed, dtype=np.int64)).tolist():
            self._forget(view)
        gone = set(removed)
        self._failed = [cell for cell in self._failed if cell not in gone]
        for queues in self._all_queues:
            self._admit(queues)
        return np.array(removed, dtype=np.int64)

    def close(self) -> None:
        """Wait for the runs under way and release the executors; the engines stay open."""
        for queues in self._all_queues:
            queues.executor.close()

    def _admit(self, queues: BatchQueues) -> None:
        """Route the cells that the executor has found room for."""
        for cells, error in queues.executor.admit():
            if error is not None:
                self._lose(error, cells)
                continue
            for cell in cells:
                self._route(cell)

    def _route(self, cell: int) -> None:
        """Queue a cell for the networks that can see it now; without any, it is done."""
        state = self._cells[cell]
        queues, answers = state.queues, state.answers
        wanted: list[str] = []
        for step in self._steps:
            if step.network in answers or step.network in state.asked:
                continue
            route = step.route(answers)
            if route is Route.SKIP:
                answers[step.network] = None
            elif route is Route.RUN or (queues.executor.fuses and step.follows(wanted)):
                wanted.append(step.network)
        if wanted:
            state.asked.update(wanted)
            queues.put(cell, wanted)
        elif len(answers) == len(self._steps):
            del self._cells[cell]
            queues.executor.discard(cell)
            self._done[cell] = answers

    def _start_ready(self, queues: BatchQueues, policy: Policy, *, flush: bool) -> None:
        executor = queues.executor
        while executor.has_room:
            networks = queues.next(policy, flush=flush and not executor.is_saturated)
            if networks is None:
                return
            self._start(queues, networks)

    def _start(self, queues: BatchQueues, networks: Networks) -> None:
        cells = queues.pop(networks)
        batch = Batch(networks, cells, {cell: self._cells[cell].answers for cell in cells})
        try:
            queues.executor.start(batch)
        except (DeadlineError, EngineError) as error:
            self._note_failure(queues, batch, error)

    def _take_finished(self, queues: BatchQueues, wait_s: float | None) -> bool:
        """Take all runs that have ended; return whether there was any.

        Raises DeadlineError after them when one was cancelled.
        """
        cancelled: DeadlineError | None = None
        finished = queues.executor.finished(wait_s)
        for batch, pending in finished:
            try:
                self._take(queues, batch, pending)
            except DeadlineError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled
        return bool(finished)

    def _take(self, queues: BatchQueues, batch: Batch, pending: PendingResult) -> None:
        """Take the answers of a run; cells that were given up meanwhile are passed over."""
        try:
            result = pending()
        except (DeadlineError, EngineError) as error:
            self._note_failure(queues, batch, error)
            return
        self._cut_s += result.cut_s
        for row, cell in enumerate(batch.cells):
            if cell not in self._cells:
                continue
            answers: dict[str, Answer | None] = {}
            for name in batch.networks:
                answer = _row(result.outputs[name], row)
                if self._by_name[name].is_usable(answer):
                    answers[name] = answer
                elif self._by_name[name].is_first:
                    answers[name] = None  # those behind it are asked
            if len(answers) == len(batch.networks):
                self._cells[cell].answers.update(answers)
                self._route(cell)
            else:
                self._fail(cell)
        self._admit(queues)

    def _note_failure(
        self, queues: BatchQueues, batch: Batch, error: DeadlineError | EngineError
    ) -> None:
        """Queue the cells of a cancelled run again, or fail those of another.

        A run of which every cell was given up may fail silently: no answer is missing, and
        its cancellation says nothing about the time of the cells that wait now.
        """
        waiting = [cell for cell in batch.cells if cell in self._cells]
        if not waiting:
            return
        if isinstance(error, DeadlineError):
            queues.put_back(batch.networks, waiting)
            raise error
        if all(self._by_name[name].is_first for name in batch.networks):
            self._pass_on(waiting, batch.networks, error)
            return
        self._lose(error, batch.cells)
        self._admit(queues)

    def _pass_on(self, cells: Sequence[int], networks: Networks, error: EngineError) -> None:
        """Show cells to the networks behind a student that failed on them: none is lost."""
        warn("engines", "student_failed", f"the networks behind it are asked: {error}")
        for cell in cells:
            self._cells[cell].answers.update(dict.fromkeys(networks))
            self._route(cell)

    def _lose(self, error: EngineError, cells: Sequence[int]) -> None:
        self._errors.append((error, self._views.cells(cells)))
        for cell in cells:
            if cell in self._cells:
                self._fail(cell)

    def _fail(self, cell: int) -> None:
        """Fail a cell, given by a view of it: no network is asked about any of them again."""
        for view in self._views.beside(cell):
            self._forget(view)
        self._failed.append(self._views.cell(cell))

    def _forget(self, view: int) -> None:
        """Drop a view, and its answers if it has them all."""
        self._done.pop(view, None)
        if view in self._cells:
            self._remove(view)

    def _remove(self, cell: int) -> None:
        queues = self._cells.pop(cell).queues
        queues.remove(cell)
        queues.executor.discard(cell)

    def _returned(self) -> InferenceResult:
        if not (self._done or self._failed or self._errors):
            return self._nothing
        done = self._views.take_complete(self._done)
        failed, self._failed = self._failed, []
        errors, self._errors = self._errors, []
        cut_s, self._cut_s = self._cut_s, 0.0
        ids = sorted(done)
        result = result_of(self._manifest, np.array(ids, dtype=np.int64), [done[i] for i in ids])
        lost = np.concatenate([result.failed, np.array(failed, dtype=np.int64)])
        return InferenceResult(
            result.scores,
            np.sort(lost),
            tuple(error for error, _ in errors),
            tuple(np.array(cells, dtype=np.int64) for _, cells in errors),
            cut_s,
        )


def _row(outputs: Outputs, row: int) -> Answer:
    return {name: values[row] for name, values in outputs.items()}
