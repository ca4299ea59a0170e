"""The thread that runs the networks, adds up and keeps the time."""

from __future__ import annotations

import threading
import time
from collections import deque

from edgeapl.errors import DeadlineError, EdgeAplError
from edgeapl.examination import FrameInWork, PreparedFrame, SlideExamination
from edgeapl.model import Model
from edgeapl.pipeline.options import Observer, Progress, SlideOptions, SlideOutcome
from edgeapl.pipeline.producer import End, Producer
from edgeapl.protocols import FrameSource

MOST_HELD_BYTES = 256 << 20
"""Frames wait for a batch of their rarest kind of cell to fill up; above this no longer."""

MOST_WAITING_CELLS = 32
"""A camera's next frame is asked for when no more cells wait: enough to keep the networks busy
while it is searched for cells, and few enough that it is not old when its turn comes."""

TICK_S = 0.25
"""How long nothing may happen before the observer is called; also how often a frame that is still
in work tells where it stands."""


def examine_slide(
    model: Model,
    slide: str,
    source: FrameSource,
    options: SlideOptions,
    observer: Observer,
    stop: threading.Event | None = None,
) -> SlideOutcome:
    """Examine all frames of a slide, or until `stop` is set, and judge it.

    Parameters
    ----------
    model : the bundle, ready to run.
    slide : identifier that the verdict will carry.
    source : gives the frames; closed by the caller.
    options, observer : how, and who is told.
    stop : set it from anywhere to close the slide; what was read by then is still finished.

    Errors of single frames are collected; the slide then ends in REVIEW unless it is flagged.
    """
    examination = SlideExamination(
        model,
        slide,
        batch_size=options.batch_size,
        live=source.live,
        known=options.findings,
        in_order=options.budget is not None,
        flagged=options.flagged,
    )
    stop = stop or threading.Event()
    with Producer(model, source, options, observer.on_accepted, stop) as producer:
        try:
            return _Examiner(examination, producer, options, observer, live=source.live).run()
        finally:
            examination.close()


class _Examiner:
    """Takes frames from the producer until the end, one batch of cells at a time."""

    def __init__(
        self,
        examination: SlideExamination,
        producer: Producer,
        options: SlideOptions,
        observer: Observer,
        *,
        live: bool,
    ) -> None:
        self._examination = examination
        self._producer = producer
        self._budget = options.budget
        self._observer = observer
        self._live = live
        # A live slide is answered frame by frame; a folder waits for full batches.
        self._fill = not live and options.budget is None
        self._waiting: deque[FrameInWork] = deque()
        self._told_ns = 0

    def run(self) -> SlideOutcome:
        while not isinstance(item := self._next(), End):
            if isinstance(item, EdgeAplError):
                self._examination.note_error(item)
            elif item is not None:
                self._enter(item)
            else:
                self._observer.on_tick()
            self._hand_on()
        while self._waiting:
            self._step(flush=True)
        return SlideOutcome(self._examination.verdict(), self._examination.errors)

    def _next(self) -> PreparedFrame | EdgeAplError | End | None:
        """Run what is ready, and give the next item when nothing is."""
        self._want_more()
        while self._examination.ready(flush=False):
            self._step(flush=False)
        while self._waiting:
            item = self._producer.take(TICK_S if self._fill else 0)
            if item is not None:
                return item
            if not self._fill or self._held_bytes() > MOST_HELD_BYTES:
                self._step(flush=True)
        return self._producer.take(TICK_S)

    def _enter(self, prepared: PreparedFrame) -> None:
        start_ns = prepared.frame.captured_ns if self._live else time.monotonic_ns()
        deadline_ns = None if self._budget is None else self._budget.cutoff_ns(start_ns)
        self._waiting.append(self._examination.enter(prepared, start_ns, deadline_ns))
        while self._fill and self._held_bytes() > MOST_HELD_BYTES and self._waiting:
            self._step(flush=True)

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
            self._examination.step(self._waiting, flush=flush)
        except DeadlineError:
            self._give_up(None if self._hurries() else deadline_ns)
        self._hand_on()
        self._want_more()
        self._tell_now_and_then()

    def _want_more(self) -> None:
        if sum(work.waiting for work in self._waiting) <= MOST_WAITING_CELLS:
            self._producer.want_one()

    def _hurries(self) -> bool:
        return self._budget is not None and self._budget.hurry.is_set()

    def _deadline_ns(self) -> int | None:
        times = [work.deadline_ns for work in self._waiting if work.deadline_ns is not None]
        return min(times, default=None)

    def _give_up(self, deadline_ns: int | None) -> None:
        """Give up the frames whose time is up by then; without a time, all."""
        for work in self._waiting:
            if deadline_ns is None or (work.deadline_ns or 0) <= deadline_ns:
                self._examination.give_up(work)
        self._hand_on()

    def _hand_on(self) -> None:
        """Finish the frames at the head of the line whose cells all have an answer."""
        while self._waiting and self._waiting[0].done:
            work = self._waiting.popleft()
            self._observer.on_frame(self._examination.leave(work))
            self._tell(work)

    def _tell_now_and_then(self) -> None:
        late = time.monotonic_ns() - self._told_ns > TICK_S * 1e9
        if self._waiting and late and not self._fill:
            self._tell(None)

    def _tell(self, finished: FrameInWork | None) -> None:
        if self._observer.on_progress is None:
            return
        self._told_ns = time.monotonic_ns()
        progress = Progress(
            verdict=self._examination.verdict(self._waiting),
            frames=self._examination.frames,
            finished_ns=None if finished is None else finished.start_ns,
            waiting_ns=min((work.start_ns for work in self._waiting), default=None),
            cut=finished is not None and bool(finished.given_up),
        )
        self._observer.on_progress(progress)

    def _held_bytes(self) -> int:
        return sum(work.held_bytes for work in self._waiting)
