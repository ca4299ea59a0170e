"""Ask the cell networks on a device that cuts the cells itself.

Frames are put there as they come, and their cells wait, like those of `edgeapl.stages.classify`,
until a batch is full. All networks that a cell can be shown to are asked in one batch; what they
answer may send it on to others, and then its frame is still there. One batch is always under way
while the next is put together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from edgeapl.bundle.manifest import Manifest
from edgeapl.errors import DeadlineError, EngineError
from edgeapl.protocols import CellChain, CellsOnFrame, Engine, Link
from edgeapl.stages.classified import Classified
from edgeapl.stages.classify import Classifier
from edgeapl.stages.crop import CellImages, Uncut
from edgeapl.stages.routing import Answer, Outputs, Show, Step, steps
from edgeapl.types import Int64, UInt8

Networks = tuple[str, ...]
"""Networks that are asked in one batch, in order."""


def links_of(manifest: Manifest) -> tuple[Link, ...]:
    """Give the networks of cells as links of a chain; empty when they cannot make one.

    That is so where a network takes what another gave, but only for some cells: by the time that
    these are known, the other's answers are gone from the device.
    """
    wanted = steps(manifest)
    if any(step.after is not None and step.when is not None for step in wanted):
        return ()
    return tuple(
        Link(step.network, step.input, step.after, (*step.probabilities, *step.features))
        for step in wanted
    )


@dataclass(slots=True, eq=False)
class _Held:
    """A frame with cells that have no answer. place : on the device; None while it waits for one.

    cells : their numbers.
    """

    uncut: Uncut
    cells: set[int]
    place: int | None = None


@dataclass(slots=True, eq=False)
class _State:
    """A cell on its way. row : in `Uncut`. answers : see `Step.show`."""

    held: _Held
    row: int
    answers: dict[str, Answer | None] = field(default_factory=dict)


class DeviceClassifier(Classifier):
    """Takes cells in that are part of their frame, and gives them back when all have answered.

    Cells that were cut before, as images of single cells are, go to the engines themselves, and so
    do those of frames that the chain does not take.

    Parameters
    ----------
    chain : of the networks of `links_of`. The others as in `Classifier`.
    """

    def __init__(
        self,
        manifest: Manifest,
        engines: Mapping[str, Engine],
        chain: CellChain,
        batch_size: int = 16,
    ) -> None:
        super().__init__(manifest, engines, batch_size)
        self._chain = chain
        self._full = min(batch_size, chain.most_cells)
        self._states: dict[int, _State] = {}
        self._lines: dict[Networks, deque[int]] = {}
        self._frames: deque[_Held] = deque()
        self._under_way: deque[tuple[Networks, list[int]]] = deque()

    def enter(self, ids: Int64, crops: CellImages | Sequence[UInt8]) -> None:
        """Take cells in: images, or places on a frame; the chain may not take all frames."""
        if not isinstance(crops, Uncut) or not self._takes(crops):
            super().enter(ids, crops)
            return
        held = _Held(crops, set(ids.tolist()))
        self._states.update((cell, _State(held, row)) for row, cell in enumerate(ids.tolist()))
        if held.cells:
            self._frames.append(held)
            self._place_frames()

    def ready(self, *, flush: bool) -> bool:
        """Whether a batch is full; with `flush`, whether there is any cell to ask about."""
        return self._next(flush=flush) is not None or super().ready(flush=flush)

    def step(self, *, flush: bool) -> Classified:
        """Start what is ready, and wait for the oldest batch when no more may be started.

        With `flush` it is waited for in any case. Gives the cells now done, which may be none: a
        batch that was only started is given by a later step. Raises DeadlineError when a batch was
        cancelled; its cells then wait again, and what came in before is given by `collect`.
        """
        while len(self._under_way) < self._chain.most_batches:
            networks = self._next(flush=flush)
            if networks is None:
                break
            self._start(networks)
        full = len(self._under_way) == self._chain.most_batches
        if self._under_way and (flush or full):
            self._finish()
        elif super().ready(flush=flush):
            return super().step(flush=flush)
        return self._collected()

    def run(self, *, flush: bool) -> Classified:
        """Run all batches that are full, with `flush` all that is left, to their end."""
        while self._next(flush=flush) is not None or self._under_way:
            while len(self._under_way) < self._chain.most_batches:
                networks = self._next(flush=flush)
                if networks is None:
                    break
                self._start(networks)
            if self._under_way:
                self._finish()
        return super().run(flush=flush)

    def give_up(self, ids: Int64) -> Int64:
        """Take cells out, wherever they are; gives the numbers, int64, of those that were in."""
        there = [cell for cell in ids.tolist() if cell in self._states]
        for cell in there:
            self._leave(cell)
        self._place_frames()
        return np.sort(np.concatenate([np.array(there, np.int64), super().give_up(ids)]))

    @property
    def held(self) -> frozenset[int]:
        """Numbers of the cells that were taken in, and neither given back nor given up."""
        return super().held | frozenset(self._states)

    def close(self) -> None:
        """Wait for what is under way, so that nobody gets it as an answer, and free all places."""
        while self._under_way:
            self._under_way.popleft()
            with suppress(EngineError, DeadlineError):
                self._chain.finish()
        for held in self._frames:
            if held.place is not None:
                self._chain.drop(held.place)
        self._frames.clear()
        super().close()

    def _takes(self, uncut: Uncut) -> bool:
        frame, widest = uncut.detections.frame, int(uncut.squares[:, 2:].max(initial=0))
        fits = frame.height * frame.width <= self._chain.most_pixels
        return fits and widest <= self._chain.widest_cut

    def _next(self, *, flush: bool) -> Networks | None:
        """Give the networks that most cells wait for, if there are enough of them for a batch.

        When a frame waits for a place, no more cells can come that would fill a batch up.
        """
        flush = flush or any(held.place is None for held in self._frames)
        lines = [
            networks
            for networks, line in self._lines.items()
            if len(line) >= self._full or (flush and line)
        ]
        return max(lines, key=lambda networks: len(self._lines[networks]), default=None)

    def _start(self, networks: Networks) -> None:
        line = self._lines[networks]
        frames: dict[int, list[int]] = {}
        for _ in range(min(len(line), self._full)):
            cell = line.popleft()
            place = self._states[cell].held.place
            assert place is not None
            frames.setdefault(place, []).append(cell)
        # The answers come frame by frame.
        cells = [cell for together in frames.values() for cell in together]
        given = [self._on_frame(place, together) for place, together in frames.items()]
        try:
            self._chain.start(given, networks)
        except DeadlineError:
            line.extendleft(reversed(cells))
            raise
        except EngineError as error:
            self._lose(error, cells)
            self._place_frames()
            return
        self._under_way.append((networks, cells))

    def _on_frame(self, place: int, cells: Sequence[int]) -> CellsOnFrame:
        uncut = self._states[cells[0]].held.uncut
        rows = [self._states[cell].row for cell in cells]
        labels = (uncut.rows[rows] + 1).astype(np.int32)
        return CellsOnFrame(place, uncut.squares[rows], labels)

    def _finish(self) -> None:
        """Wait for the oldest batch; cells given up meanwhile are passed over."""
        networks, cells = self._under_way.popleft()
        if not any(cell in self._states for cell in cells):
            with suppress(EngineError, DeadlineError):  # nobody waits for it any more
                self._chain.finish()
            return
        try:
            outputs = self._chain.finish()
            rows = {
                step.network: step.rows(outputs[step.network], len(cells))
                for step in self._steps
                if step.network in networks
            }
        except DeadlineError:
            there = [cell for cell in cells if cell in self._states]
            self._lines[networks].extendleft(reversed(there))
            raise
        except EngineError as error:
            self._lose(error, cells)
            self._place_frames()
            return
        for row, cell in enumerate(cells):
            if cell in self._states:
                self._answer(cell, networks, {name: _row(rows[name], row) for name in networks})
        self._place_frames()

    def _answer(self, cell: int, networks: Networks, answers: Mapping[str, Answer]) -> None:
        asked = [step for step in self._steps if step.network in networks]
        if not all(step.is_usable(answers[step.network]) for step in asked):
            self._leave(cell)
            self._failed.append(cell)
            return
        self._states[cell].answers.update(answers)
        self._send_on(cell)

    def _send_on(self, cell: int) -> None:
        """Put a cell in front of the networks that it can be shown to now; or it is done."""
        state = self._states[cell]
        wanted: list[str] = []
        for step in self._steps:
            if step.network in state.answers:
                continue
            show = step.show(state.answers)
            if show is Show.NO:
                state.answers[step.network] = None
            elif show is Show.YES or _takes_from(step, wanted):
                wanted.append(step.network)
        if wanted:
            self._lines.setdefault(tuple(wanted), deque()).append(cell)
            return
        self._leave(cell)
        self._end(cell, state.answers)

    def _leave(self, cell: int) -> None:
        """Take a cell out of all lines; the place of its frame is free after the last."""
        held = self._states.pop(cell).held
        for line in self._lines.values():
            if cell in line:
                line.remove(cell)
        held.cells.remove(cell)
        if not held.cells:
            self._frames.remove(held)
            if held.place is not None:
                self._chain.drop(held.place)

    def _lose(self, error: EngineError, cells: Sequence[int]) -> None:
        """Note an error, and that the cells of its batch have no answer."""
        self._errors.append((error, list(cells)))
        for cell in cells:
            if cell in self._states:
                self._leave(cell)
                self._failed.append(cell)

    def _place_frames(self) -> None:
        """Put the frames that wait for a place on the device, as far as there are places."""
        for held in [held for held in self._frames if held.place is None]:
            detections, cells = held.uncut.detections, sorted(held.cells)
            try:
                held.place = self._chain.put(detections.frame, detections.labels)
            except EngineError as error:
                self._lose(error, cells)
                continue
            if held.place is None:
                return
            for cell in sorted(cells, key=lambda cell: self._states[cell].row):
                self._send_on(cell)


def classifier_for(
    manifest: Manifest,
    engines: Mapping[str, Engine],
    chain: CellChain | None,
    batch_size: int,
    workers: int,
    *,
    keep_pace: bool,
) -> Classifier:
    """Give who asks the cell networks: on the device of a chain where there is one."""
    if chain is not None:
        return DeviceClassifier(manifest, engines, chain, batch_size)
    return Classifier(manifest, engines, batch_size, workers, keep_pace=keep_pace)


def classify_on_device(
    manifest: Manifest, engines: Mapping[str, Engine], chain: CellChain, ids: Int64, uncut: Uncut
) -> Classified:
    """Classify some cells at once; raises EngineError when a run fails."""
    classifier = DeviceClassifier(manifest, engines, chain, max(1, len(ids)))
    classifier.enter(ids, uncut)
    result = classifier.run(flush=True)
    if result.errors:
        raise result.errors[0]
    return result


def _takes_from(step: Step, networks: Sequence[str]) -> bool:
    """Whether a network takes what one of these gives, in the same batch."""
    return step.when is None and step.after is not None and step.after[0] in networks


def _row(outputs: Outputs, row: int) -> Answer:
    return {name: values[row] for name, values in outputs.items()}
