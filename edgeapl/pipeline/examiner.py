"""The thread that runs the networks, adds up and keeps the time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgeapl.errors import DeadlineError, EdgeAplError
from edgeapl.examination import FrameInWork, PreparedFrame, SlideExamination
from edgeapl.examination.preparation import add_seconds, timed
from edgeapl.inference import InferenceResult, scheduler_for
from edgeapl.model import Model
from edgeapl.pipeline.jobs import SlideJob, Turn
from edgeapl.pipeline.options import Budget, Progress, SlideOutcome
from edgeapl.pipeline.producer import End, Item, Over, Producer, Sent

MOST_HELD_BYTES = 256 << 20
"""Frames wait for a batch of their rarest kind of cell to fill up; above this no longer."""

MOST_WAITING_CELLS = 32
"""A camera's next frame is asked for when no more cells wait: enough to keep the networks busy
while it is searched for cells, and few enough that it is not old when its turn comes."""

TICK_S = 0.25
"""How long nothing may happen before the observer is called; also how often a frame that is still
in work tells where it stands."""

MOST_OPEN_SLIDES = 16
"""Slides whose last cells wait for a batch to fill up; each has open files and pictures."""


@dataclass(slots=True, eq=False)
class _Open:
    """A slide in work. waiting : its frames, oldest first. read : whether all of them are here."""

    job: SlideJob
    examination: SlideExamination
    waiting: deque[FrameInWork] = field(default_factory=deque)
    read: bool = False


class Examiner:
    """Takes frames from the producer until the end, one batch of cells at a time.

    Parameters
    ----------
    fill : wait for full batches. budget : of the only slide.
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
        size = batch_size or model.batch_size
        self._scheduler = scheduler_for(
            model.bundle.manifest,
            model.engines,
            size,
            model.workers + model.waiting,
            chain=model.chain,
            keep_pace=not fill,
        )
        self._line: deque[_Open | Turn] = deque()
        self._newest: _Open | None = None
        self._told_ns = 0

    def __enter__(self) -> Examiner:
        return self

    def __exit__(self, *_: object) -> None:
        self._scheduler.close()

    def run(self) -> None:
        """Answer all slides; raises what ended the producer, after those that were read."""
        while not isinstance(item := self._next(), Over):
            if isinstance(item, Sent):
                self._receive(item)
            elif item is not None:
                self._line.append(item)
            elif self._newest is not None:
                self._newest.job.observer.on_tick()
            item = None  # a frame that is finished must not live on until the next one is here
            while self._fill and self._held_bytes() > MOST_HELD_BYTES and self._busy:
                self._step(flush=True)
            self._hand_on()
        self._finish()
        if item.error is not None:
            raise item.error

    def _finish(self) -> None:
        """Answer what is in work, without waiting for more."""
        while self._busy:
            self._step(flush=True)

    def begin(self, job: SlideJob) -> None:
        """Open a slide behind those in work; if it cannot begin, those are answered first."""
        while len(self._line) >= MOST_OPEN_SLIDES and self._busy:
            self._step(flush=True)
        try:
            job.on_begin()
        except EdgeAplError:
            self._finish()
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
        )
        self._newest = _Open(job, examination)
        self._line.append(self._newest)

    @property
    def _slides(self) -> Iterator[_Open]:
        return (slide for slide in self._line if isinstance(slide, _Open))

    @property
    def _works(self) -> Iterator[FrameInWork]:
        return (work for slide in self._slides for work in slide.waiting)

    @property
    def _busy(self) -> bool:
        return any(slide.waiting for slide in self._slides)

    def _next(self) -> Item | None:
        """Run what is ready, and give the next item when nothing is."""
        self._want_more()
        # Runs about cells that nobody waits for any more are left to themselves.
        while self._busy and self._scheduler.ready(flush=False):
            self._step(flush=False)
        while self._busy:
            item = self._producer.take(TICK_S if self._fill else 0)
            if item is not None:
                return item
            full = self._held_bytes() > MOST_HELD_BYTES or self._producer.room.wanted
            if not self._fill or full:
                self._step(flush=True)
        return self._producer.take(TICK_S)

    def _receive(self, item: Sent) -> None:
        if self._newest is None or self._newest.job is not item.job:
            self.begin(item.job)
        slide = self._newest
        assert slide is not None
        if isinstance(item.what, End):
            slide.read = True
        elif isinstance(item.what, EdgeAplError):
            slide.examination.note_error(item.what)
            self._producer.room.give_back(item.nbytes)
        else:
            self._enter(slide, item.what)

    def _enter(self, slide: _Open, prepared: PreparedFrame) -> None:
        live = slide.job.source.live
        start_ns = prepared.frame.captured_ns if live else time.monotonic_ns()
        deadline_ns = None if self._budget is None else self._budget.cutoff_ns(start_ns)
        slide.waiting.append(slide.examination.enter(prepared, start_ns, deadline_ns))

    def _step(self, *, flush: bool) -> None:
        """Run one batch, unless the time of the oldest frame is up."""
        deadline_ns = self._deadline_ns()
        if self._hurries():
            self._give_up(None)
            return
        if deadline_ns is not None and time.monotonic_ns() >= deadline_ns:
            self._give_up(deadline_ns)
            return
        if self._budget is not None:
            self._budget.cancel_cells(deadline_ns)
        try:
            self._ask(flush=flush)
        except DeadlineError:
            self._give_up(None if self._hurries() else deadline_ns)
        self._hand_on()
        self._want_more()
        self._tell_now_and_then()

    def _ask(self, *, flush: bool) -> None:
        """Run one batch; raises DeadlineError when it was cancelled. Its cells then wait again."""
        oldest = next((slide for slide in self._slides if slide.waiting), self._newest)
        assert oldest is not None
        with timed(oldest.examination.timings, "infer"):
            result = self._scheduler.step(flush=flush)
        # A part of what the networks took, since the threads that run them cut the cells.
        add_seconds(oldest.examination.timings, "crop", result.cut_s)
        self._take(result)

    def _take(self, result: InferenceResult) -> None:
        if not result.is_empty:
            for slide in self._slides:
                slide.examination.take(result, slide.waiting)

    def _want_more(self) -> None:
        if sum(work.waiting for work in self._works) <= MOST_WAITING_CELLS:
            self._producer.want_one()

    def _hurries(self) -> bool:
        return self._budget is not None and self._budget.hurry.is_set()

    def _deadline_ns(self) -> int | None:
        times = [work.deadline_ns for work in self._works if work.deadline_ns is not None]
        return min(times, default=None)

    def _give_up(self, deadline_ns: int | None) -> None:
        """Give up the frames whose time is up by then; without a time, all.

        What the networks have said by then counts: the run that was cancelled is one of several.
        """
        self._take(self._scheduler.collect())
        for slide in self._slides:
            for work in slide.waiting:
                if deadline_ns is None or (work.deadline_ns or 0) <= deadline_ns:
                    slide.examination.give_up(work)
        self._hand_on()

    def _hand_on(self) -> None:
        """Finish what is at the head of the line: frames whose cells all have an answer, slides."""
        while self._line:
            head = self._line[0]
            if isinstance(head, _Open):
                while head.waiting and head.waiting[0].done:
                    work = head.waiting.popleft()
                    nbytes = work.prepared.frame.pixels.nbytes
                    head.job.observer.on_frame(head.examination.leave(work))
                    self._tell(head, work)
                    del work  # before another takes its room
                    self._producer.room.give_back(nbytes)
                if head.waiting or not head.read:
                    return
                outcome = SlideOutcome(head.examination.verdict(), head.examination.errors)
                self._line.popleft()
                head.job.on_outcome(outcome)
            else:
                self._line.popleft()
                head()

    def _tell_now_and_then(self) -> None:
        late = time.monotonic_ns() - self._told_ns > TICK_S * 1e9
        if late and not self._fill and self._newest is not None and self._newest.waiting:
            self._tell(self._newest, None)

    def _tell(self, slide: _Open, finished: FrameInWork | None) -> None:
        if slide.job.observer.on_progress is None:
            return
        self._told_ns = time.monotonic_ns()
        progress = Progress(
            verdict=slide.examination.verdict(slide.waiting),
            frames=slide.examination.frames,
            finished_ns=None if finished is None else finished.start_ns,
            waiting_ns=min((work.start_ns for work in slide.waiting), default=None),
            cut=finished is not None and bool(finished.given_up),
        )
        slide.job.observer.on_progress(progress)

    def _held_bytes(self) -> int:
        return self._scheduler.held_bytes + sum(work.held_bytes for work in self._works)
