"""The threads that read slides and prepare their frames for the networks."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import cv2

from edgeapl.errors import (
    CameraError,
    DeadlineError,
    EdgeAplError,
    EndOfSource,
    EngineError,
    InputError,
    SourceStalled,
)
from edgeapl.examination import PreparedFrame, gate_frame, prepare_frame, search_frame
from edgeapl.model import Model
from edgeapl.pipeline.jobs import Barrier, SlideJob
from edgeapl.pipeline.memory_budget import MemoryBudget
from edgeapl.stages.gate import FieldHistory
from edgeapl.types import Frame

READ_TIMEOUT_S = 0.5
"""How often the pipeline checks whether to stop while a source is silent."""


class EndOfSlide:
    """The slide's source has no more frames, or the slide was closed."""


@dataclass(frozen=True, slots=True, eq=False)
class SlideItem:
    """A frame of a slide, or something else about it.

    nbytes : memory that it holds until it is finished.
    """

    job: SlideJob
    content: PreparedFrame | EdgeAplError | EndOfSlide
    nbytes: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class EndOfJobs:
    """Nothing more will come. error : that ended the thread early; to be raised."""

    error: BaseException | None = None


Item = SlideItem | Barrier | EndOfJobs


@dataclass(frozen=True, slots=True, eq=False)
class _PendingFrame:
    """A frame of a slide that is being searched for cells."""

    job: SlideJob
    search: Future[PreparedFrame]
    nbytes: int

    def outcome(self) -> SlideItem | EndOfJobs:
        """Return the prepared frame, or the error of the networks that search it."""
        error = self.search.exception()
        if error is None:
            return SlideItem(self.job, self.search.result(), self.nbytes)
        return (
            SlideItem(self.job, error, self.nbytes)
            if isinstance(error, (DeadlineError, EngineError))
            else EndOfJobs(error)
        )


class Producer:
    """Reads and prepares frames in threads of its own, for as long as it is entered.

    OpenCV has no threads of its own meanwhile, if workers of the model or searchers use all cores:
    its threads wait for each other by spinning.

    Parameters
    ----------
    model : the bundle.
    jobs : slides, one after another; taken in the reading thread, each when the one before is read.
        Barriers are passed on in their place.
    stop : once set, nothing more is read.
    searchers : frames that are searched for cells at the same time. With one, a frame is searched
        before the next is read, as a camera needs it; more are for slides without a budget.
    """

    def __init__(
        self,
        model: Model,
        jobs: Iterable[SlideJob | Barrier],
        stop: threading.Event,
        searchers: int = 1,
    ) -> None:
        self.memory = MemoryBudget()
        self._model = model
        self._searchers = (
            ThreadPoolExecutor(searchers, "edgeapl-prepare") if searchers > 1 else None
        )
        self._jobs = jobs
        self._stop = stop
        self._left = threading.Event()
        self._ended: SlideJob | None = None
        # Enough for all searchers, with the frame that waits for memory and the one that the
        # examiner waits for; a frame and its labels may take 25 MB, so no more.
        self._queue: queue.Queue[Item | _PendingFrame] = queue.Queue(maxsize=max(1, searchers - 1))
        self._head: Item | _PendingFrame | None = None
        self._requested = threading.Event()
        self._requested.set()
        self._thread = threading.Thread(target=self._run, name="edgeapl-prepare", daemon=True)

    def __enter__(self) -> Producer:
        self._opencv_threads = cv2.getNumThreads()
        if self._model.workers > 1 or self._searchers is not None:
            cv2.setNumThreads(1)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._stop.set()
        self._thread.join()
        if self._searchers is not None:
            self._searchers.shutdown(cancel_futures=True)
        cv2.setNumThreads(self._opencv_threads)

    def request_frame(self) -> None:
        """Request a camera's newest frame, if none is on its way.

        Without a request none is read: a frame that waits here grows old, and would have little of
        its time left when its cells are examined.
        """
        if self._queue.empty():
            self._requested.set()

    def end(self, job: SlideJob) -> None:
        """Read no more of the slide that was read last; what is on its way still comes."""
        self._ended = job

    def get(self, wait_s: float) -> Item | None:
        """Return the next item, in the order of reading; None if it is not there in time."""
        if self._head is None:
            try:
                self._head = self._queue.get(timeout=wait_s) if wait_s else self._queue.get_nowait()
            except queue.Empty:
                return None
        head = self._head
        if not isinstance(head, _PendingFrame):
            self._head = None
            return head
        if not wait([head.search], wait_s).done:
            return None
        self._head = None
        return head.outcome()

    def _run(self) -> None:
        try:
            for job in self._jobs:
                if isinstance(job, SlideJob):
                    self._read_slide(job)
                else:
                    self._put(job)
                if self._stop.is_set():
                    break
        except BaseException as error:  # noqa: BLE001 - handed to the calling thread, which raises it
            self._put(EndOfJobs(error))
        else:
            self._put(EndOfJobs())

    def _read_slide(self, job: SlideJob) -> None:
        try:
            self._read_all(job)
        except EdgeAplError as error:
            self._put(SlideItem(job, error))
        self._put(SlideItem(job, EndOfSlide()))

    def _read_all(self, job: SlideJob) -> None:
        source, options = job.source, job.options
        memory = FieldHistory()
        frames = 0
        idle_s = 0.0
        on_demand = source.live and options.budget is not None
        while not (self._stop.is_set() or self._ended is job or frames == options.max_frames):
            if on_demand and not self._requested.wait(READ_TIMEOUT_S):
                continue
            if not self.memory.wait(READ_TIMEOUT_S):
                continue
            try:
                frame = source.read(READ_TIMEOUT_S)
            except EndOfSource:
                return
            except SourceStalled:
                idle_s += READ_TIMEOUT_S
                limit = options.stop_when_idle
                if limit is not None and idle_s >= limit:
                    return
                continue
            except InputError as error:
                self._put(SlideItem(job, error))
                continue
            except CameraError as error:
                self._put(SlideItem(job, error))
                return
            if options.budget is not None and options.budget.abort.is_set():
                return  # it would not be examined
            self.memory.acquire(frame.pixels.nbytes)
            frames += 1
            idle_s = 0.0
            self._requested.clear()
            memory = self._prepare(job, frame, memory)
            del frame  # or it would stay in memory while the next one is decoded

    def _prepare(self, job: SlideJob, frame: Frame, memory: FieldHistory) -> FieldHistory:
        """Pass on the prepared frame, or the error of the networks that search it for cells."""
        if self._searchers is not None:
            return self._search(self._searchers, job, frame, memory)
        budget = job.options.budget
        if budget is not None:
            start_ns = frame.captured_ns if job.source.live else time.monotonic_ns()
            budget.cancel_segmenting(budget.cutoff_ns(start_ns))
        try:
            prepared, memory = prepare_frame(
                self._model, frame, memory, crops=job.options.crops, store=job.options.store
            )
        except (DeadlineError, EngineError) as error:
            self._put(SlideItem(job, error, frame.pixels.nbytes))
            return memory
        if not prepared.rejected:
            job.observer.on_accepted(frame)
        self._put(SlideItem(job, prepared, frame.pixels.nbytes))
        return memory

    def _search(
        self, searchers: ThreadPoolExecutor, job: SlideJob, frame: Frame, memory: FieldHistory
    ) -> FieldHistory:
        """Gate the frame and pass it on while it is searched for cells."""
        crops = job.options.crops
        gated, memory = gate_frame(self._model, frame, memory, crops=crops)
        if not gated.rejected:
            job.observer.on_accepted(frame)
        store = job.options.store
        found = searchers.submit(search_frame, self._model, gated, crops=crops, store=store)
        self._put(_PendingFrame(job, found, frame.pixels.nbytes))
        return memory

    def _put(self, item: Item | _PendingFrame) -> None:
        """Wait until the queue has room; give up when nobody will take the item any more."""
        while True:
            try:
                self._queue.put(item, timeout=READ_TIMEOUT_S)
            except queue.Full:
                if self._left.is_set():
                    return
            else:
                return
