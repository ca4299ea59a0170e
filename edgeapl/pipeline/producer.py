"""The thread that reads frames and makes them ready for the networks."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from edgeapl.errors import (
    CameraError,
    DeadlineError,
    EdgeAplError,
    EndOfSource,
    EngineError,
    InputError,
    SourceStalled,
)
from edgeapl.examination import PreparedFrame, prepare_frame
from edgeapl.model import Model
from edgeapl.pipeline.options import SlideOptions
from edgeapl.protocols import FrameSource
from edgeapl.stages.gate import FieldMemory
from edgeapl.types import Frame

QUEUE_FRAMES = 3
"""Prepared frames waiting for the networks: enough to hide one slow frame, few enough to hold."""

READ_TIMEOUT_S = 0.5
"""How often a silent source lets the pipeline look whether it shall stop."""


class End:
    """The source has given its last frame, or the slide was closed."""


class Producer:
    """Reads and prepares frames in a thread of its own, for as long as it is entered."""

    def __init__(
        self,
        model: Model,
        source: FrameSource,
        options: SlideOptions,
        on_accepted: Callable[[Frame], None],
        stop: threading.Event,
    ) -> None:
        self._model = model
        self._on_accepted = on_accepted
        self._source = source
        self._options = options
        self._stop = stop
        self._queue: queue.Queue[object] = queue.Queue(maxsize=QUEUE_FRAMES)
        self._wanted = threading.Event()
        self._wanted.set()
        self._thread = threading.Thread(target=self._run, name="edgeapl-prepare", daemon=True)

    def __enter__(self) -> Producer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def want_one(self) -> None:
        """Ask a camera for its newest picture, if none is on its way.

        Without being asked none is read: one that waits here grows old, and would have little of
        its time left when its turn comes.
        """
        if self._queue.empty():
            self._wanted.set()

    def take(self, wait_s: float) -> PreparedFrame | EdgeAplError | End | None:
        """Give the next item; None when there is none in time.

        Raises what the thread raised, when that was not an EdgeAplError.
        """
        try:
            item = self._queue.get(timeout=wait_s) if wait_s else self._queue.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, PreparedFrame | EdgeAplError | End):
            return item
        assert isinstance(item, BaseException)
        raise item

    def _run(self) -> None:
        try:
            self._read_all()
            self._put(End())
        except BaseException as error:  # noqa: BLE001 - handed to the calling thread, which raises it
            self._put(error)
            self._put(End())

    def _read_all(self) -> None:
        memory = FieldMemory()
        frames = 0
        idle_s = 0.0
        on_demand = self._source.live and self._options.budget is not None
        while not self._stop.is_set() and frames != self._options.max_frames:
            if on_demand and not self._wanted.wait(READ_TIMEOUT_S):
                continue
            try:
                frame = self._source.read(READ_TIMEOUT_S)
            except EndOfSource:
                return
            except SourceStalled:
                idle_s += READ_TIMEOUT_S
                limit = self._options.stop_when_idle
                if limit is not None and idle_s >= limit:
                    return
                continue
            except InputError as error:
                self._put(error)
                continue
            except CameraError as error:
                self._put(error)
                return
            frames += 1
            idle_s = 0.0
            self._wanted.clear()
            memory = self._prepare(frame, memory)

    def _prepare(self, frame: Frame, memory: FieldMemory) -> FieldMemory:
        """Hand the frame on, or the error of the networks that search it for cells."""
        budget = self._options.budget
        if budget is not None:
            start_ns = frame.captured_ns if self._source.live else time.monotonic_ns()
            budget.cancel_segmenting(budget.cutoff_ns(start_ns))
        try:
            prepared, memory = prepare_frame(self._model, frame, memory, crops=self._options.crops)
        except (DeadlineError, EngineError) as error:
            self._put(error)
            return memory
        if not prepared.rejected:
            self._on_accepted(frame)
        self._put(prepared)
        return memory

    def _put(self, item: object) -> None:
        """Wait for room; give up when nobody will take the item any more."""
        while True:
            try:
                self._queue.put(item, timeout=READ_TIMEOUT_S)
            except queue.Full:
                if self._stop.is_set():
                    return
            else:
                return
