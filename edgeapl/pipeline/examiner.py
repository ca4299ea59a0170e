"""The thread that runs the networks, adds up their answers and keeps the deadline."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgeapl.errors import DeadlineError, EdgeAplError
from edgeapl.examination import OpenFrame, PreparedFrame, SlideExamination
from edgeapl.examination.timings import add_seconds, timed
from edgeapl.inference import InferenceResult, scheduler_for
from edgeapl.inference.answer_memo import AnswerMemo
from edgeapl.inference.student_look import StudentLook
from edgeapl.model import Model
from edgeapl.pipeline.jobs import Barrier, SlideJob
from edgeapl.pipeline.options import Budget, Progress, SlideOutcome
from edgeapl.pipeline.producer import EndOfJobs, EndOfSlide, Item, Producer, SlideItem
from edgeapl.stages.cascade import Cascade

MOST_HELD_BYTES = 256 << 20
"""Frames wait for a batch of their rarest kind of cell to fill up; above this no longer."""

MOST_WAITING_CELLS = 32
"""A camera's next frame is requested when no more cells wait: enough to keep the networks busy
while it is searched for cells, and few enough that it is not old when its cells are examined. A
cell that is shown in several views counts as many."""

TICK_S = 0.25
"""How long nothing may happen before the observer is called; also how often the progress of an open
frame is reported."""

MOST_OPEN_SLIDES = 16
"""Slides whose last cells wait for a batch to fill up; each has open files and images."""


@dataclass(slots=True, eq=False)
class _OpenSlide:
    """A slide without its verdict.

    frames : that are not finished, oldest first. all_read : whether no more will come.
    decided : whether what still comes is dropped, because the rule is decided.
    """

    job: SlideJob
    examination: SlideExamination
    frames: deque[OpenFrame] = field(default_factory=deque)
    all_read: bool = False
    decided: bool = False


class Examiner:
    """Takes frames from the producer until the end, one batch of cells at a time.

    Parameters
    ----------
    batch_size : cells in one run; None for what is best for the model.
    budget : of the only slide. fill : wait for full batches.
    """

    def __init__(
        self,
        model: Model,
        producer: Producer,
        batch_size: int | None,
        budget: Budget | None,
        *,
        fill: bool,
    ) -> None:
        self._model = model
        self._producer = producer
        self._budget = budget
        self._fill = fill
        manifest, memo = model.bundle.manifest, AnswerMemo()
        size, workers = batch_size or model.batch_size, model.workers + model.waiting
        self._scheduler = scheduler_for(
            manifest,
            model.engines,
            size,
            workers,
            chain=model.chain,
            keep_pace=not fill,
            memo=memo,
        )
        cascade = None if budget is None else Cascade.of(manifest)
        self._student_look: StudentLook | None = None
        if cascade is not None:
            self._student_look = StudentLook(manifest, cascade, model.engines, size, workers, memo)
        self._queue: deque[_OpenSlide | Barrier] = deque()
        self._newest: _OpenSlide | None = None
        self._reported_ns = 0

    def __enter__(self) -> Examiner:
        return self

    def __exit__(self, *_: object) -> None:
        self._scheduler.close()
        if self._student_look is not None:
            self._student_look.close()

    def run(self) -> None:
        """Examine all slides; raises what ended the producer, after those that were read."""
        while not isinstance(item := self._next_item(), EndOfJobs):
            if isinstance(item, SlideItem):
                self._receive(item)
            elif item is not None:
                self._queue.append(item)
            elif self._newest is not None:
                self._newest.job.observer.on_tick()
            item = None  # a frame that is finished must not live on until the next one is here
            while self._fill and self._held_bytes() > MOST_HELD_BYTES and self._is_busy:
                self._step(flush=True)
            self._finish_ready()
        self._finish_all()
        if item.error is not None:
            raise item.error

    def begin(self, job: SlideJob) -> None:
        """Open a slide behind the others; if it cannot begin, these are finished first."""
        while len(self._queue) >= MOST_OPEN_SLIDES and self._is_busy:
            self._step(flush=True)
        try:
            job.on_begin()
        except EdgeAplError:
            self._finish_all()
            raise
        examination = SlideExamination(
            self._model,
            job.slide,
            self._scheduler,
            first_cell=0 if self._newest is None else self._newest.examination.next_cell,
            live=job.source.live,
            known=job.options.findings,
            in_order=job.options.budget is not None,
            flagged=job.options.flagged,
            stop_error=job.options.stop_error,
            sampled=job.options.sampled,
            first_look=job.options.first_look,
            store=job.options.store,
            student_look=self._student_look,
        )
        self._newest = _OpenSlide(job, examination)
        self._queue.append(self._newest)

    @property
    def _slides(self) -> Iterator[_OpenSlide]:
        return (slide for slide in self._queue if isinstance(slide, _OpenSlide))

    @property
    def _frames(self) -> Iterator[OpenFrame]:
        return (frame for slide in self._slides for frame in slide.frames)

    @property
    def _is_busy(self) -> bool:
        return any(slide.frames for slide in self._slides)

    def _next_item(self) -> Item | None:
        """Run what is ready, and return the next item when nothing is."""
        self._request_frame()
        # Runs about cells that nobody waits for any more are left to themselves.
        while self._is_busy and self._scheduler.ready(flush=False):
            self._step(flush=False)
        while self._is_busy:
            item = self._producer.get(TICK_S if self._fill else 0)
            if item is not None:
                return item
            full = self._held_bytes() > MOST_HELD_BYTES or self._producer.memory.is_short
            if not self._fill or full:
                self._step(flush=True)
        return self._producer.get(TICK_S)

    def _receive(self, item: SlideItem) -> None:
        if self._newest is None or self._newest.job is not item.job:
            self.begin(item.job)
        slide = self._newest
        assert slide is not None
        if isinstance(item.content, EndOfSlide):
            slide.all_read = True
        elif slide.decided:
            self._producer.memory.release(item.nbytes)
        elif isinstance(item.content, EdgeAplError):
            slide.examination.note_error(item.content)
            self._producer.memory.release(item.nbytes)
        else:
            self._enter(slide, item.content)

    def _enter(self, slide: _OpenSlide, prepared: PreparedFrame) -> None:
        live = slide.job.source.live
        start_ns = prepared.frame.captured_ns if live else time.monotonic_ns()
        deadline_ns = None if self._budget is None else self._budget.cutoff_ns(start_ns)
        if self._budget is not None and self._student_look is not None:
            self._budget.cancel_cells(deadline_ns)
        slide.frames.append(slide.examination.enter(prepared, start_ns, deadline_ns))

    def _step(self, *, flush: bool) -> None:
        """Run one batch, unless the time of the oldest frame is up."""
        deadline_ns = self._deadline_ns()
        if self._must_end():
            self._give_up(None)
            return
        if deadline_ns is not None and time.monotonic_ns() >= deadline_ns:
            self._give_up(deadline_ns)
            return
        if self._budget is not None:
            self._budget.cancel_cells(deadline_ns)
        try:
            self._run_batch(flush=flush)
        except DeadlineError:
            self._give_up(None if self._must_end() else deadline_ns)
        self._finish_ready()
        self._request_frame()
        self._report_now_and_then()

    def _run_batch(self, *, flush: bool) -> None:
        """Run one batch; raises DeadlineError when it was cancelled. Its cells then wait again."""
        oldest = next((slide for slide in self._slides if slide.frames), self._newest)
        assert oldest is not None
        with timed(oldest.examination.timings, "infer"):
            result = self._scheduler.step(flush=flush)
        # A part of what the networks took, since the threads that run them cut the cells.
        add_seconds(oldest.examination.timings, "crop", result.cut_s)
        self._take(result)

    def _take(self, result: InferenceResult) -> None:
        if not result.is_empty:
            for slide in self._slides:
                slide.examination.take(result, slide.frames)

    def _request_frame(self) -> None:
        views = self._model.bundle.manifest.crop.views
        if views * sum(frame.pending for frame in self._frames) <= MOST_WAITING_CELLS:
            self._producer.request_frame()

    def _must_end(self) -> bool:
        return self._budget is not None and self._budget.abort.is_set()

    def _deadline_ns(self) -> int | None:
        times = [frame.deadline_ns for frame in self._frames if frame.deadline_ns is not None]
        return min(times, default=None)

    def _give_up(self, deadline_ns: int | None) -> None:
        """Give up the frames whose time is up by then; without a time, all.

        What the networks have answered by then counts: several runs may have been under way.
        """
        self._take(self._scheduler.collect())
        for slide in self._slides:
            for frame in slide.frames:
                if deadline_ns is None or (frame.deadline_ns or 0) <= deadline_ns:
                    slide.examination.give_up(frame)
        self._finish_ready()

    def _finish_all(self) -> None:
        """Finish what is open, without waiting for more."""
        while self._is_busy:
            self._step(flush=True)

    def _finish_ready(self) -> None:
        """Finish frames and slides at the head of the queue, and call barriers, in order."""
        while self._queue:
            head = self._queue[0]
            if isinstance(head, _OpenSlide):
                self._finish_frames(head)
                if head.frames or not head.all_read:
                    return
                head.examination.note_end()
                outcome = SlideOutcome(
                    head.examination.verdict(), head.examination.errors, head.decided
                )
                self._queue.popleft()
                head.job.on_outcome(outcome)
            else:
                self._queue.popleft()
                head()

    def _finish_frames(self, slide: _OpenSlide) -> None:
        while slide.frames and slide.frames[0].done:
            frame = slide.frames.popleft()
            nbytes = frame.prepared.frame.pixels.nbytes
            slide.job.observer.on_frame(slide.examination.leave(frame))
            self._report(slide, frame)
            del frame  # before another takes its memory
            self._producer.memory.release(nbytes)
            if slide.examination.is_decided():
                self._end(slide)

    def _end(self, slide: _OpenSlide) -> None:
        """End a slide with the frame that was finished last: what is behind it never counts."""
        slide.decided = True
        self._producer.end(slide.job)
        slide.examination.drop(slide.frames)
        for frame in slide.frames:
            self._producer.memory.release(frame.prepared.frame.pixels.nbytes)
        slide.frames.clear()

    def _report_now_and_then(self) -> None:
        late = time.monotonic_ns() - self._reported_ns > TICK_S * 1e9
        if late and not self._fill and self._newest is not None and self._newest.frames:
            self._report(self._newest, None)

    def _report(self, slide: _OpenSlide, finished: OpenFrame | None) -> None:
        if slide.job.observer.on_progress is None:
            return
        self._reported_ns = time.monotonic_ns()
        progress = Progress(
            verdict=slide.examination.verdict(slide.frames),
            frames=slide.examination.frames,
            finished_ns=None if finished is None else finished.start_ns,
            waiting_ns=min((frame.start_ns for frame in slide.frames), default=None),
            cut=finished is not None and bool(finished.given_up),
        )
        slide.job.observer.on_progress(progress)

    def _held_bytes(self) -> int:
        return self._scheduler.held_bytes + sum(frame.held_bytes for frame in self._frames)
