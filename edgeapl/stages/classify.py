"""Ask the cell networks, each in full batches.

Cells enter one frame after another and wait in front of each network that they must be shown to.
A network runs as soon as a batch is full, whatever frames its cells come from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.protocols import Engine
from edgeapl.stages.batch import Batch, Ran, run_batch
from edgeapl.stages.cell_image import CellImage
from edgeapl.stages.classified import Classified, known, scores_of
from edgeapl.stages.crop import CellImages
from edgeapl.stages.routing import Answer, Show, Step, steps
from edgeapl.stages.workers import Workers
from edgeapl.types import Int64, UInt8

GROUP = 16
"""Cells that are given back together where nobody waits for the first: adding up cells one by one
takes processor time from the networks."""

LOOK_S = 0.01
"""How long a step waits for a run while another worker has nothing to do: a frame may come."""


@dataclass(slots=True, eq=False)
class _Cell:
    """A cell on its way.

    asked : networks it was put in front of. answers : network to its answer; None where the cell
    is not shown to it.
    """

    image: CellImage
    asked: set[str] = field(default_factory=set)
    answers: dict[str, Answer | None] = field(default_factory=dict)


class Classifier:
    """Takes cells in, and gives them back when all their networks have answered.

    Parameters
    ----------
    manifest : names roles, networks and the feature output.
    engines : network name to engine.
    batch_size : cells in one run of a network, 1 or more.
    workers : runs at the same time; more than one take threads of their own, until `close`.
    keep_pace : run the network that most cells wait for, so that the first cells are done long
        before the last. Without it a network runs on while it has batches: its weights stay in the
        processor's cache, and all cells together are done sooner.
    """

    def __init__(
        self,
        manifest: Manifest,
        engines: Mapping[str, Engine],
        batch_size: int = 16,
        workers: int = 1,
        *,
        keep_pace: bool = True,
    ) -> None:
        self._manifest = manifest
        self._engines = engines
        self._batch_size = batch_size
        self._keep_pace = keep_pace
        self._last: int | None = None
        self._steps = steps(manifest)
        self._cells: dict[int, _Cell] = {}
        self._queues: dict[str, deque[int]] = {step.network: deque() for step in self._steps}
        self._done: list[int] = []
        self._failed: list[int] = []
        self._errors: list[tuple[EngineError, list[int]]] = []
        self._cut_s = 0.0
        self._workers = Workers(self._run, workers) if workers > 1 else None
        self._nothing = scores_of(manifest, np.empty(0, dtype=np.int64), [])

    def enter(self, ids: Int64, crops: CellImages | Sequence[UInt8]) -> None:
        """Take cells in.

        Parameters
        ----------
        ids : int64 (N,), numbers of the cells, none twice.
        crops : uint8 (N, size, size, 3) RGB, or where they are to be cut.
        """
        for row, cell in enumerate(ids.tolist()):
            self._cells[cell] = _Cell(CellImage(crops, row))
            self._queue(cell, self._steps)

    @property
    def held_bytes(self) -> int:
        """What the images of cells on their way take."""
        return sum(cell.image.nbytes for cell in self._cells.values())

    def run(self, *, flush: bool) -> Classified:
        """Run the networks whose batches are full; with `flush` on what is left as well.

        Gives the cells that are done. A run that fails, or gives outputs of another name or shape
        than the bundle says, costs its cells and is among the errors.
        """
        if self._workers is None:
            for place in range(len(self._steps)):
                self._run_all(place, flush=flush)
        while self._workers or self._any_ready(flush=flush):
            self._advance(flush=flush, wait_s=None)
        return self._collected()

    def run_network(self, network: str) -> None:
        """Run one network on all cells that wait for it, in this thread.

        For who has one network in memory at a time and asks them in the order of
        `edgeapl.stages.routing.steps`; `run` then gives the cells.
        """
        for place, step in enumerate(self._steps):
            if step.network == network:
                self._run_all(place, flush=True)

    def ready(self, *, flush: bool) -> bool:
        """Whether `step` has something to do at once: a batch to run, or none that could be added.

        A batch is full; with `flush`, any cell will do.
        """
        busy = self._workers is not None and self._workers.all_busy
        return busy or self._any_ready(flush=flush)

    def step(self, *, flush: bool) -> Classified:
        """Run one batch and give the cells now done.

        Without keeping pace they are given once there are `GROUP`, or when no run is left. With
        several workers all are given batches, and the first to end is waited for; for a moment only
        while one of them has nothing to do. Raises DeadlineError when a run was cancelled; its
        cells then wait again, and what its neighbours answered is given by `collect`.
        """
        idle = not self.ready(flush=flush)
        self._advance(flush=flush, wait_s=LOOK_S if idle else None)
        more = bool(self._workers) or self._any_ready(flush=flush)
        if more and not self._keep_pace and len(self._done) < GROUP:
            return self._nothing
        return self._collected()

    def collect(self) -> Classified:
        """Give the cells now done without asking about others; runs that have ended are taken."""
        if self._workers is not None:
            with suppress(DeadlineError):  # those cells wait again
                self._take_ended(0.0)
        return self._collected()

    @property
    def held(self) -> frozenset[int]:
        """Numbers of the cells that were taken in, and neither given back nor given up."""
        return frozenset(self._cells) | frozenset(self._failed)

    def close(self) -> None:
        """Wait for runs that nobody needs any more, and end the threads."""
        if self._workers is not None:
            self._workers.close()

    def give_up(self, ids: Int64) -> Int64:
        """Take cells out, wherever they are; gives the numbers, int64, of those that were in.

        Answers that have come in but were not given back are dropped too: `collect` them before.
        """
        held = self.held
        there = [cell for cell in ids.tolist() if cell in held]
        gone = set(there)
        self._done = [cell for cell in self._done if cell not in gone]
        self._failed = [cell for cell in self._failed if cell not in gone]
        for cell in gone & self._cells.keys():
            self._remove(cell)
        return np.array(there, dtype=np.int64)

    def _run_all(self, place: int, *, flush: bool) -> None:
        while self._is_ready(self._steps[place], flush=flush):
            self._take(self._next_batch(place))

    def _is_ready(self, step: Step, *, flush: bool) -> bool:
        waiting = len(self._queues[step.network])
        return waiting >= self._batch_size or (flush and waiting > 0)

    def _any_ready(self, *, flush: bool) -> bool:
        return any(self._is_ready(step, flush=flush) for step in self._steps)

    def _next_step(self, *, flush: bool) -> int | None:
        """Give the place of the step to run, the one before or the fullest; None: none is ready."""
        last = None if self._keep_pace else self._last
        if last is not None and self._is_ready(self._steps[last], flush=flush):
            return last
        self._last = self._fullest(flush=flush)
        return self._last

    def _fullest(self, *, flush: bool) -> int | None:
        places = [n for n, step in enumerate(self._steps) if self._is_ready(step, flush=flush)]
        waiting = {place: len(self._queues[self._steps[place].network]) for place in places}
        return max(places, key=waiting.__getitem__, default=None)

    def _next_batch(self, place: int) -> Batch:
        step = self._steps[place]
        queue = self._queues[step.network]
        cells = [queue.popleft() for _ in range(min(len(queue), self._batch_size))]
        return Batch(place, cells, self._given(step, cells))

    def _advance(self, *, flush: bool, wait_s: float | None) -> None:
        """Run batches: one here, or as many as there are workers, and take what has ended."""
        if self._workers is None:
            place = self._next_step(flush=flush)
            if place is not None:
                self._take(self._next_batch(place))
            return
        while not self._workers.full:
            place = self._next_step(flush=flush and not self._workers.all_busy)
            if place is None:
                break
            self._workers.start(self._next_batch(place))
        self._take_ended(wait_s)

    def _take_ended(self, wait_s: float | None) -> None:
        """Take all runs that have ended; raises DeadlineError after them when one was cancelled."""
        assert self._workers is not None
        late: DeadlineError | None = None
        for batch, run in self._workers.ended(wait_s):
            try:
                self._take(batch, run)
            except DeadlineError as error:
                late = error
        if late is not None:
            raise late

    def _run(self, batch: Batch) -> Ran:
        step = self._steps[batch.place]
        return run_batch(batch, step, self._engines[step.network])

    def _collected(self) -> Classified:
        if not (self._done or self._failed or self._errors):
            return self._nothing
        done, self._done = sorted(self._done), []
        failed, self._failed = sorted(self._failed), []
        errors, self._errors = self._errors, []
        cut_s, self._cut_s = self._cut_s, 0.0
        answers = [self._cells.pop(cell).answers for cell in done]
        result = scores_of(self._manifest, np.array(done, dtype=np.int64), answers)
        lost = np.concatenate([result.failed, np.array(failed, dtype=np.int64)])
        return Classified(
            result.scores,
            np.sort(lost),
            tuple(error for error, _ in errors),
            tuple(np.array(cells, dtype=np.int64) for _, cells in errors),
            cut_s,
        )

    def _queue(self, cell: int, later: Sequence[Step]) -> None:
        """Put a cell in front of the networks it can be shown to now; or it is done."""
        state = self._cells[cell]
        for step in later:
            if step.network in state.answers or step.network in state.asked:
                continue
            show = step.show(state.answers)
            if show is Show.NO:
                state.answers[step.network] = None
            elif show is Show.YES:
                state.asked.add(step.network)
                self._queues[step.network].append(cell)
        if len(state.answers) == len(self._steps):
            self._done.append(cell)

    def _take(self, batch: Batch, run: Future[Ran] | None = None) -> None:
        """Take the answers of a run, or run it here; cells given up meanwhile are passed over."""
        step = self._steps[batch.place]
        there = [(row, cell) for row, cell in enumerate(batch.cells) if cell in self._cells]
        try:
            ran = self._run(batch) if run is None else run.result()
        except DeadlineError:
            self._queues[step.network].extendleft(cell for _, cell in reversed(there))
            raise
        except EngineError as error:
            self._errors.append((error, batch.cells))
            for _, cell in there:
                self._fail(cell)
            return
        self._cut_s += ran.cut_s
        for row, cell in there:
            answer = {name: values[row] for name, values in ran.answers.items()}
            if not step.is_usable(answer):
                self._fail(cell)
                continue
            self._cells[cell].answers[step.network] = answer
            self._queue(cell, self._steps[batch.place + 1 :])

    def _end(self, cell: int, answers: Mapping[str, Answer | None]) -> None:
        """Count a cell among those that are done, which had its answers elsewhere."""
        no_image = CellImage([np.empty((0, 0, 3), np.uint8)], 0)
        self._cells[cell] = _Cell(no_image, answers=dict(answers))
        self._done.append(cell)

    def _fail(self, cell: int) -> None:
        """Give a cell up: it leaves all queues, so that no network is asked about it again."""
        self._remove(cell)
        self._failed.append(cell)

    def _remove(self, cell: int) -> None:
        state = self._cells.pop(cell)
        for network in state.asked:
            if cell in self._queues[network]:
                self._queues[network].remove(cell)

    def _given(self, step: Step, cells: Sequence[int]) -> NDArray[np.generic] | list[CellImage]:
        states = [self._cells[cell] for cell in cells]
        if step.after is None:
            return [state.image for state in states]
        network, output = step.after
        return np.stack([known(state.answers[network])[output] for state in states])


def classify(
    manifest: Manifest, engines: Mapping[str, Engine], ids: Int64, crops: UInt8
) -> Classified:
    """Ask about some cells at once; see `Classifier`. Raises EngineError when a run fails."""
    classifier = Classifier(manifest, engines, batch_size=max(1, len(ids)))
    classifier.enter(ids, crops)
    result = classifier.run(flush=True)
    if result.errors:
        raise result.errors[0]
    return result
