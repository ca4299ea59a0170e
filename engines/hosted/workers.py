"""The child's threads: some run networks, and one works the chain if there is one."""

from __future__ import annotations

import os
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from edgeapl.cores import OwnCores
from edgeapl.engines.hosted.arrays import put_arrays
from edgeapl.engines.hosted.messages import (
    Answer,
    DropFrame,
    Failed,
    FinishBatch,
    PutFrame,
    Reply,
    RunNetwork,
    StartBatch,
    ToChild,
    failed,
)
from edgeapl.engines.hosted.queues import RequestQueues
from edgeapl.errors import DeviceError, EdgeAplError, EngineError
from edgeapl.process.memory import SharedMemory
from edgeapl.process.parent import BROKEN, Parent
from edgeapl.protocols import CellChain, CellsOnFrame, Engine
from edgeapl.types import Colours, Frame

Host = Parent[ToChild, Reply]

Slots = Sequence[tuple[SharedMemory, SharedMemory]]
"""(memory of inputs, memory of outputs) of each."""


class Worker(ABC):
    """Does what the host asks for, one thing at a time.

    Parameters
    ----------
    slots : where arrays come and go. queues : what is asked. host : gets the answers.
    """

    def __init__(self, slots: Slots, queues: RequestQueues, host: Host) -> None:
        self._slots = slots
        self._queues = queues
        self._host = host

    def work(self, own: OwnCores) -> None:
        """Answer for as long as the process lives; keeps to a core of its own if there is one."""
        try:
            own.take()
            while True:
                self._work_once()
        except BaseException:  # noqa: BLE001 - ends the process, so that nobody waits for it
            traceback.print_exc()
            os._exit(BROKEN)

    @abstractmethod
    def _work_once(self) -> None:
        """Wait for the next thing and do it; what it raises ends the process."""


class NetworkWorker(Worker):
    """Runs networks of one group. engines : by name.

    A device that failed is of no more use to this process, nor is what other runs left there. So
    the failed run is answered with its error, and the process ends: the next one starts anew.
    """

    def __init__(
        self,
        engines: Mapping[str, Engine],
        slots: Slots,
        queues: RequestQueues,
        host: Host,
        group: str,
    ) -> None:
        super().__init__(slots, queues, host)
        self._engines = engines
        self._group = group

    def _work_once(self) -> None:
        self._host.send(self._answer(self._queues.next_run(self._group)))

    def _answer(self, run: RunNetwork) -> Answer | Failed:
        engine = self._engines[run.network]
        given, made = self._slots[run.slot]
        try:
            if not self._queues.begin(run.request, engine):
                raise EngineError("run was cancelled", run.network)
            outputs = engine.run(given.take(run.arrays))
            return Answer(run.request, put_arrays(made, outputs))
        except DeviceError as error:
            self._host.send(failed(run.request, error, is_last=True))
            raise
        except EdgeAplError as error:
            return failed(run.request, error)
        finally:
            self._queues.end(run.request)


class ChainWorker(Worker):
    """Puts frames on the device of a chain, and starts and finishes batches there.

    A chain that failed refuses all further work, so after its first error, which is answered, the
    process ends, and the next one has a new chain.
    """

    def __init__(self, chain: CellChain, slots: Slots, queues: RequestQueues, host: Host) -> None:
        super().__init__(slots, queues, host)
        self._chain = chain
        self._places: dict[int, int] = {}
        self._under_way: deque[StartBatch] = deque()

    def _work_once(self) -> None:
        message = self._queues.next_for_chain()
        if isinstance(message, DropFrame):
            self._drop(message.place)
            return
        try:
            self._do(message)
        except EdgeAplError as error:
            self._host.send(failed(message.request, error, is_last=True))
            raise

    def _do(self, message: PutFrame | StartBatch | FinishBatch) -> None:
        if isinstance(message, FinishBatch):
            self._finish(message.request)
        elif not self._queues.begin(message.request, self._chain):
            self._over(failed(message.request, EngineError("run was cancelled", "chain")))
        elif isinstance(message, PutFrame):
            self._put(message)
        else:
            self._start(message)

    def _drop(self, place: int) -> None:
        """Free a place; the host also names those whose frame never came."""
        there = self._places.pop(place, None)
        if there is not None:
            self._chain.drop(there)

    def _put(self, put: PutFrame) -> None:
        self._drop(put.place)  # put there before, but the host gave up waiting for the answer
        given, _ = self._slots[put.slot]
        arrays = given.take(put.arrays)
        pixels = np.asarray(arrays["pixels"], np.uint8)
        labels = np.asarray(arrays.get("labels", np.empty((0, 0))), np.uint16)
        rows = arrays.get("colours")
        colours = None if rows is None else Colours(*np.array(rows, np.float32))
        frame = Frame(pixels, 0, 0, 1.0, "another process", "", colours=colours)
        place = self._chain.put(frame, labels)
        if place is None:
            raise EngineError("no place for another frame", "chain", "drop one before")
        self._places[put.place] = place
        self._over(Answer(put.request, (), self._chain.moved))

    def _start(self, batch: StartBatch) -> None:
        given, _ = self._slots[batch.slot]
        arrays = given.take(batch.arrays)
        squares = np.array(arrays["squares"], np.int32)
        labels = np.array(arrays["labels"], np.int32)
        turned = np.array(arrays["views"], np.int32) if "views" in arrays else None
        cells, first = [], 0
        for place, count in batch.parts:
            rows = slice(first, first + count)
            views = None if turned is None else turned[rows]
            cells.append(CellsOnFrame(self._places[place], squares[rows], labels[rows], views))
            first += count
        self._chain.start(cells, batch.networks)
        self._under_way.append(batch)

    def _finish(self, request: int) -> None:
        """Finish the oldest batch; nothing is to be done when it was cancelled before it began."""
        if not self._under_way or self._under_way[0].request != request:
            return
        batch = self._under_way.popleft()
        _, made = self._slots[batch.slot]
        outputs = {
            f"{network}.{output}": values
            for network, of_network in self._chain.finish().items()
            for output, values in of_network.items()
        }
        self._over(Answer(request, put_arrays(made, outputs), self._chain.moved))

    def _over(self, reply: Answer | Failed) -> None:
        self._queues.end(reply.request)
        self._host.send(reply)
